/* What a lane does: every call of the allocator's, hand-overs, and lives that begin and end.
 *
 * A step draws three numbers, whatever becomes of it, so that a lane's sequence of requests depends
 * on the seed alone. Which blocks they meet depends on the other lanes too, and so does when the
 * bound on the live total leaves an allocation out. */
#include "lane.h"
#include "common.h"
#include "shared.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

const char *const lane_operation_text[LANE_OPERATION_COUNT] = {
#define X(name, text) [LANE_##name] = text,
    LANE_OPERATIONS(X)
#undef X
};

enum { LIFE_LEAST = 2000, LIFE_MORE = 30000 }; /* steps of a thread */
enum { STACK_BYTES = 256 << 10 };
enum { STEADY, BURST, DRAIN, IDLE, PHASES };

static _Atomic size_t live, peak;
static size_t live_bound;
static _Atomic bool stopped;
static pthread_key_t late_key;

static void count(struct lane *lane, enum lane_operation operation) {
    uint64_t old = atomic_load_explicit(&lane->counts[operation], memory_order_relaxed);
    atomic_store_explicit(&lane->counts[operation], old + 1, memory_order_relaxed);
}

/* ---- the live total ------------------------------------------------------------------------- */

size_t lanes_live(void) {
    return atomic_load(&live);
}
size_t lanes_peak(void) {
    return atomic_load(&peak);
}

/* A block takes 16 bytes at least, and an aligned one may need a page of its own. */
static void begin_block(struct block *block, void *address, size_t size, size_t alignment) {
    size_t unit = alignment < 16 ? 16 : alignment > 4096 ? 4096 : alignment;
    *block = (struct block){address, size, ((size ? size : 1) + unit - 1) / unit * unit};
    /* relaxed: a sum; nothing else is read by way of it, and a race detector sees no order */
    size_t now =
        block->counted + atomic_fetch_add_explicit(&live, block->counted, memory_order_relaxed);
    size_t most = atomic_load_explicit(&peak, memory_order_relaxed);
    while (now > most && !atomic_compare_exchange_weak_explicit(
                             &peak, &most, now, memory_order_relaxed, memory_order_relaxed))
        continue;
    block_fill(block);
}

static void end_block(struct block *block) {
    atomic_fetch_sub_explicit(&live, block->counted, memory_order_relaxed);
    block->address = NULL;
}

static void free_block(struct block *block) {
    block_verify(block);
    unsigned char *address = block->address;
    end_block(block);
    errno = 4321;
    free(address);
    if (errno != 4321)
        fail("free(%p) set errno to %d", (void *)address, errno);
}

/* ---- what is asked for ---------------------------------------------------------------------- */

/* Every size class, with the bounds between them met exactly now and then; spans; huge blocks. */
static size_t size_of(uint64_t draw) {
    unsigned kind = (unsigned)(draw & 1023);
    uint64_t rest = draw >> 10;
    if (kind < 2) /* 1 to 9 MiB */
        return ((size_t)1 << 20) + rest % ((size_t)8 << 20);
    if (kind < 12) /* a span */
        return 32769 + rest % (((size_t)1 << 20) - 32769);
    unsigned doubling = (unsigned)(rest % 12); /* 16 to 64 KiB, the small ones more often */
    if (kind > 250)
        doubling %= 7;
    size_t size = (size_t)16 << doubling;
    rest >>= 8;
    if (kind % 8 == 0)
        return size + rest % 3 - 1;
    if (kind % 8 == 1)
        return (size + rest % size) / 16 * 16;
    return size / 16 * (rest % 2 == 0) + rest / 2 % size;
}

static size_t alignment_of(uint64_t draw) {
    unsigned doubling = (unsigned)(draw % 64);
    return (size_t)16 << (doubling < 9 ? doubling : doubling < 11 ? doubling + 3 : doubling % 5);
}

static void check_new(const char *call, const void *address, size_t size, size_t alignment) {
    if (!address)
        fail("%s of %zu bytes returned NULL (%s), with %zu MiB live", call, size, strerror(errno),
             lanes_live() >> 20);
    if ((uintptr_t)address % alignment)
        fail("%s of %zu bytes returned %p, which is no multiple of %zu", call, size, address,
             alignment);
}

static void new_block(struct lane *lane, struct block *block, uint64_t how, size_t size) {
    size_t alignment = 16;
    void *address = NULL;
    enum lane_operation operation = LANE_MALLOC;
    switch (how % 16) {
    case 0:
    case 1:
    case 2:
        operation = LANE_CALLOC;
        address = how & 16 ? calloc(1, size) : calloc(size / 8 + 1, 8);
        break;
    case 3:
        operation = LANE_ALIGNED_ALLOC;
        address = aligned_alloc(alignment = alignment_of(how >> 8), size);
        break;
    case 4:
        operation = LANE_POSIX_MEMALIGN;
        errno = posix_memalign(&address, alignment = alignment_of(how >> 8), size);
        break;
    case 5:
        operation = LANE_MEMALIGN;
        address = memalign(alignment = alignment_of(how >> 8), size);
        break;
    case 6:
        operation = LANE_REALLOC_NEW;
        address = how & 16 ? realloc(NULL, size) : reallocarray(NULL, size / 4 + 1, 4);
        break;
    default:
        address = malloc(size);
        break;
    }
    /* Some allocators align what can hold no 16-byte object to 8 only. */
    check_new(lane_operation_text[operation], address, size,
              alignment == 16 && size < 16 ? 8 : alignment);
    if (operation == LANE_CALLOC)
        block_verify_zero(address, size);
    begin_block(block, address, size, alignment);
    count(lane, operation);
}

static void resize_block(struct lane *lane, struct block *block, size_t size) {
    if (!size)
        size = 1;
    block_verify(block);
    struct block old = *block;
    end_block(block);
    void *moved = realloc(old.address, size);
    check_new("realloc", moved, size, size < 16 ? 8 : 16);
    block_verify_moved(&old, moved, size);
    begin_block(block, moved, size, 16);
    count(lane, size > old.size ? LANE_REALLOC_UP : LANE_REALLOC_DOWN);
}

/* All bytes that it names may be used: from here on the block is as large as that. */
static void use_all(struct lane *lane, struct block *block) {
    block_verify(block);
    size_t usable = malloc_usable_size(block->address);
    if (usable < block->size)
        fail("malloc_usable_size of block %p is %zu, but %zu bytes were asked for",
             (void *)block->address, usable, block->size);
    unsigned char *address = block->address;
    end_block(block);
    begin_block(block, address, usable, 16);
    count(lane, LANE_USABLE_SIZE);
}

static void ask_for_nothing(struct lane *lane, uint64_t draw) {
    void *a = malloc(0), *b = calloc(0, draw % 100), *c = aligned_alloc(32, 0);
    void *d = malloc(draw % 200);
    check_new("malloc", a, 0, 8);
    check_new("calloc", b, 0, 8);
    check_new("aligned_alloc", c, 0, 32);
    check_new("malloc", d, draw % 200, 8);
    if (a == b || b == c || a == c)
        fail("two blocks of no bytes are the same: %p %p %p", a, b, c);
    d = realloc(d, 0); /* may be NULL, and the block freed; or a block of no bytes */
    free(a);
    free(b);
    free(c);
    free(d);
    free(NULL);
    count(lane, LANE_ZERO);
}

static void expect_refusal(const char *call, const void *address) {
    if (address || errno != ENOMEM)
        fail("%s of more than there is returned %p with errno %d instead of NULL and ENOMEM", call,
             address, errno);
}

static void ask_for_too_much(struct lane *lane, struct block *block, uint64_t draw) {
    volatile size_t much = SIZE_MAX - (draw % 2 ? SIZE_MAX / 2 : 0) - draw % 5000;
    volatile size_t half = (size_t)1 << (32 + draw % 8);
    errno = 0;
    expect_refusal("malloc", malloc(much));
    errno = 0;
    expect_refusal("calloc", calloc(half, half));
    errno = 0;
    expect_refusal("aligned_alloc", aligned_alloc(64, much));
    if (block->address) { /* and it is as it was */
        errno = 0;
        expect_refusal("realloc", realloc(block->address, much));
        block_verify(block);
    }
    count(lane, LANE_REFUSED);
}

/* ---- a step --------------------------------------------------------------------------------- */

static bool may_allocate(struct lane *lane, size_t size) {
    if (atomic_load_explicit(&live, memory_order_relaxed) + size <= live_bound)
        return true;
    count(lane, LANE_FULL);
    return false;
}

/* Frees, or fills an empty place, as the phase wants it. */
static void turn_over(struct lane *lane, struct block *block, uint64_t how, uint64_t draw) {
    bool wants_more = lane->phase == BURST || (lane->phase == STEADY && how >> 32 & 1);
    if (block->address && !(lane->phase == BURST && how >> 32 & 3)) {
        free_block(block);
        count(lane, LANE_FREE);
    } else if (!block->address && wants_more) {
        size_t size = size_of(draw);
        if (may_allocate(lane, size))
            new_block(lane, block, how, size);
    }
}

static void receive(struct lane *lane, uint64_t how, uint64_t draw) {
    struct batch batch;
    if (!shared_receive(draw, &batch))
        return;
    count(lane, LANE_RECEIVE);
    for (unsigned i = 0; i < batch.count; i++) {
        struct block *place = &lane->table[(how >> 32) % LANE_BLOCKS];
        how = how * 5 + 1;
        if (!place->address && how & 64) { /* some are kept */
            *place = batch.blocks[i];
            continue;
        }
        free_block(&batch.blocks[i]);
        count(lane, LANE_FREE_FOREIGN);
    }
}

static void send(struct lane *lane, uint64_t how, uint64_t draw) {
    struct batch batch = {.count = 0};
    size_t at = (how >> 32) % LANE_BLOCKS;
    for (unsigned i = 0; i < BATCH_BLOCKS * 2 && batch.count < BATCH_BLOCKS; i++) {
        struct block *block = &lane->table[(at + i) % LANE_BLOCKS];
        if (block->address)
            batch.blocks[batch.count++] = *block;
        block->address = NULL;
    }
    if (!batch.count)
        return;
    if (shared_send(draw, &batch)) {
        count(lane, LANE_SEND);
        return;
    }
    for (unsigned i = 0; i < batch.count; i++) {
        free_block(&batch.blocks[i]);
        count(lane, LANE_FREE);
    }
}

static void next_phase(struct lane *lane, uint64_t draw) {
    static const uint64_t length[PHASES] = {4000, 1500, 1500, 100};
    unsigned kind = (unsigned)(draw % 16);
    lane->phase = kind < 8 ? STEADY : kind < 12 ? BURST : kind < 15 ? DRAIN : IDLE;
    lane->phase_left = length[lane->phase] / 2 + (draw >> 8) % length[lane->phase];
    if (lane->phase == IDLE)
        count(lane, LANE_IDLE);
}

static void step(struct lane *lane) {
    uint64_t what = random_next(&lane->random), how = random_next(&lane->random);
    uint64_t draw = random_next(&lane->random);
    if (!lane->phase_left--)
        next_phase(lane, how ^ draw);
    if (lane->phase == IDLE)
        sleep_ms(2);
    struct block *block = &lane->table[(what >> 32) % LANE_BLOCKS];
    unsigned kind = (unsigned)(what % 1000);
    if (kind < 720) {
        turn_over(lane, block, how, draw);
    } else if (kind < 840) {
        size_t size = how & 1 ? size_of(draw) : (size_t)(draw % (2 * block->size + 1));
        if (block->address && (size <= block->size || may_allocate(lane, size)))
            resize_block(lane, block, size);
    } else if (kind < 920) {
        bool had = block->address != NULL;
        if (!shared_swap(draw, block))
            return;
        count(lane, LANE_SWAP);
        if (block->address && had && how & 1) {
            free_block(block);
            count(lane, LANE_FREE_FOREIGN);
        }
    } else if (kind < 928) {
        send(lane, how, draw);
    } else if (kind < 936) {
        receive(lane, how, draw);
    } else if (kind < 960) {
        if (block->address)
            use_all(lane, block);
    } else if (kind < 964) {
        ask_for_nothing(lane, draw);
    } else if (kind < 966) {
        ask_for_too_much(lane, block, draw);
    } else if (block->address) {
        block_verify(block);
        count(lane, LANE_LOOK);
    }
}

/* ---- lives ---------------------------------------------------------------------------------- */

/* Runs when its thread ends, after the allocator's own destructor: its key was made later. */
static void at_end(void *value) {
    struct keepsake *keepsake = value;
    for (unsigned i = 0; i < keepsake->count; i++) {
        void *volatile other = malloc(i * 100);
        free_block(&keepsake->blocks[i]);
        free(other);
    }
    keepsake->count = 0;
    atomic_fetch_add_explicit(keepsake->late, 1, memory_order_relaxed);
}

static void leave_keepsake(struct lane *lane, unsigned generation) {
    struct keepsake *keepsake = &lane->keepsakes[generation & 1];
    keepsake->count = 0;
    keepsake->late = &lane->counts[LANE_LATE];
    for (unsigned i = 0; i < LANE_KEEPSAKES; i++) {
        struct block *block = &lane->table[i * 7];
        if (block->address)
            keepsake->blocks[keepsake->count++] = *block;
        block->address = NULL;
    }
    if (pthread_setspecific(late_key, keepsake) != 0)
        fail("pthread_setspecific failed");
}

static void *life(void *argument) {
    struct lane *lane = argument;
    pthread_t before = lane->thread;
    unsigned generation = lane->generation;
    lane->thread = pthread_self();
    uint64_t steps = LIFE_LEAST + random_next(&lane->random) % LIFE_MORE;
    while (steps-- && lane->left && !atomic_load_explicit(&stopped, memory_order_relaxed)) {
        lane->left--;
        step(lane);
        uint64_t done = atomic_load_explicit(&lane->steps, memory_order_relaxed);
        atomic_store_explicit(&lane->steps, done + 1, memory_order_relaxed);
    }
    if (generation) /* it ended long ago, its destructors too */
        pthread_join(before, NULL);
    leave_keepsake(lane, generation);
    if (!lane->left || atomic_load_explicit(&stopped, memory_order_relaxed)) {
        atomic_store(&lane->finished, true);
        return NULL;
    }
    lane->generation++;
    count(lane, LANE_HAND_ON);
    lane_start(lane); /* from here on the lane is the new thread's */
    return NULL;
}

void lane_start(struct lane *lane) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int error = pthread_create(&thread, &attributes, life, lane);
    if (error)
        fail("a thread can't be started: %s", strerror(error));
    pthread_attr_destroy(&attributes);
}

void lane_join(struct lane *lane) {
    pthread_join(lane->thread, NULL);
}

void lanes_stop(void) {
    atomic_store(&stopped, true);
}

void lanes_prepare(size_t bound) {
    live_bound = bound;
    free(malloc(1)); /* the allocator's own key is made first, and its destructor runs first */
    if (pthread_key_create(&late_key, at_end) != 0)
        fail("no thread-specific key is left");
    shared_prepare();
}

void lane_empty(struct lane *lane) {
    for (unsigned i = 0; i < LANE_BLOCKS; i++)
        if (lane->table[i].address)
            free_block(&lane->table[i]);
}

void lanes_empty_shared(void) {
    struct batch batch;
    while (shared_take_any(&batch))
        for (unsigned i = 0; i < batch.count; i++)
            free_block(&batch.blocks[i]);
}
