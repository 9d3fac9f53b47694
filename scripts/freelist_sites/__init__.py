"""Reads the allocator's C sources and says how they use slabs' freelists and remote queues."""
