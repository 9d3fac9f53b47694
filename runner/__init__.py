"""The runner: measures allocators on workloads and says who is faster."""
