/* The lines of the crash log. */
#include "inspect/crash_log.h"
#include "inspect/describe.h"
#include "inspect/fatal.h"
#include "inspect/mapping.h"
#include "base/diag.h"
#include "base/events.h"
#include "base/size_class.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NEAR_STACK ((uintptr_t)65536) /* bytes from the stack pointer */

static const char *signal_name(int signal_number) {
    return signal_number == SIGSEGV ? "SIGSEGV" : signal_number == SIGBUS ? "SIGBUS" : "SIGABRT";
}

/* Why the system sent it; NULL if that can't be told from the code. */
static const char *reason(int signal_number, int code) {
    static const struct {
        int signal_number, code;
        const char *text;
    } reasons[] = {
        {SIGSEGV, SEGV_MAPERR, "no memory is mapped there"},
        {SIGSEGV, SEGV_ACCERR, "the memory there is protected"},
        {SIGBUS, BUS_ADRALN, "the address is misaligned"},
        {SIGBUS, BUS_ADRERR, "there is nothing behind the mapping, such as past a file's end"},
        {SIGBUS, BUS_OBJERR, "the hardware reports an error"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].signal_number == signal_number && reasons[i].code == code)
            return reasons[i].text;
    return NULL;
}

struct registers {
    uintptr_t program_counter, stack_pointer; /* 0: not known */
};

static struct registers registers_of(const ucontext_t *context) {
    struct registers registers = {0, 0};
#if defined(__x86_64__)
    registers.program_counter = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
    registers.stack_pointer = (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    registers.program_counter = (uintptr_t)context->uc_mcontext.pc;
    registers.stack_pointer = (uintptr_t)context->uc_mcontext.sp;
#else
    (void)context;
#endif
    return registers;
}

/* Where the program was: for addr2line, as the offset in the file. */
static void print_place_in_program(const void *program_counter) {
    struct hak_mapping mapping;
    bool known;
    if (hak_mapping_find(program_counter, &mapping, &known) && mapping.name[0])
        hak_message("hakmem: crash: it executed %p, byte %p of %s\n", program_counter,
                    (void *)((uintptr_t)program_counter - mapping.start + mapping.file_offset),
                    mapping.name);
    else
        hak_message("hakmem: crash: it executed %p%s\n", program_counter,
                    known && !mapping.name[0] ? "" : ", where no program is mapped");
}

static void print_owner(const struct hak_place *place) {
    if (!place->class_index)
        return;
    unsigned long size = hak_class_size[place->class_index];
    if (place->owner && place->owner_thread)
        hak_message("hakmem: crash: its slab is of class %u, %u bytes, owned by thread %d\n",
                    (unsigned long)place->class_index, size, (long)place->owner_thread);
    else
        hak_message("hakmem: crash: its slab is of class %u, %u bytes, %s\n",
                    (unsigned long)place->class_index, size,
                    place->owner       ? "owned by a thread that is not known"
                    : place->abandoned ? "without an owner"
                                       : "and not in use");
}

static void print_address(const void *address, const char *what) {
    struct hak_place place = hak_describe(address);
    hak_place_tell(&place, "crash", what, "");
    print_owner(&place);
}

static void print_events(void) {
    static const struct {
        const char *text;
        bool of_class;
    } kinds[HAK_EVENT_KINDS] = {
#define CLASS                 true
#define SLABS                 false
#define X(name, text, detail) {text, detail},
        HAK_EVENTS(X)
#undef X
    };
    const struct hak_event_ring *ring = hak_events;
    if (!ring)
        return;
    /* relaxed: this thread's own; what it was just writing when the signal came is not counted */
    uint32_t count = atomic_load_explicit(&ring->count, memory_order_relaxed);
    uint32_t kept = count < HAK_EVENTS_KEPT ? count : HAK_EVENTS_KEPT;
    hak_message("hakmem: crash: the thread's last events in the allocator, the latest first:%s\n",
                kept ? "" : " none");
    for (uint32_t i = 1; i <= kept; i++) {
        const struct hak_event *event = &ring->events[(count - i) % HAK_EVENTS_KEPT];
        if (event->kind >= HAK_EVENT_KINDS)
            continue;
        bool of_class = kinds[event->kind].of_class && event->detail <= HAK_CLASS_MAX;
        hak_message("hakmem: crash:   %s: %p, %s%u bytes\n", kinds[event->kind].text,
                    event->address, of_class ? "class of " : "",
                    of_class ? (unsigned long)hak_class_size[event->detail]
                             : (unsigned long)event->detail << HAK_SLAB_SHIFT);
    }
}

static void print_signal(int signal_number, const siginfo_t *info, bool has_address) {
    long thread = syscall(SYS_gettid);
    const char *name = signal_name(signal_number);
    const char *why = reason(signal_number, info->si_code);
    if (has_address)
        hak_message("hakmem: crash: %s in thread %d at address %p%s%s\n", name, thread,
                    info->si_addr, why ? ": " : "", why ? why : "");
    else if (info->si_code > 0)
        hak_message("hakmem: crash: %s in thread %d, sent by the system; an address that can't "
                    "exist, or that it doesn't tell\n",
                    name, thread);
    else if (info->si_pid == getpid())
        hak_message("hakmem: crash: %s in thread %d, sent by the program itself\n", name, thread);
    else
        hak_message("hakmem: crash: %s in thread %d, sent by process %d\n", name, thread,
                    (long)info->si_pid);
}

static void print_fault(const void *address, uintptr_t stack_pointer) {
    print_address(address, ": ");
    if (stack_pointer && (uintptr_t)address - stack_pointer + NEAR_STACK < 2 * NEAR_STACK)
        hak_message("hakmem: crash: that is near the stack pointer, %p: the thread's stack may be "
                    "too small\n",
                    (void *)stack_pointer);
}

void hak_crash_log_print(unsigned part, int signal_number, const siginfo_t *info,
                         const ucontext_t *context) {
    struct registers registers = registers_of(context);
    /* The system says an address only for what the processor found. */
    bool has_address = info->si_code > 0 && info->si_code != SI_KERNEL && signal_number != SIGABRT;
    switch (part) {
    case 0:
        print_signal(signal_number, info, has_address);
        if (registers.stack_pointer)
            print_place_in_program((const void *)registers.program_counter);
        return;
    case 1:
        if (has_address)
            print_fault(info->si_addr, registers.stack_pointer);
        return;
    case 2:
        if (hak_wrong_pointer)
            print_address(hak_wrong_pointer, ": the pointer ");
        return;
    default:
        print_events();
    }
}
