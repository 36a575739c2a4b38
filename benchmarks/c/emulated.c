/* Does jobs on one kernel each. Stands behind the kernels' texts in one source; talks to the emulator by semihosting,
   which user-mode and whole-machine emulation have alike: reads the file "jobs", writes the file "results". */

#if defined(__aarch64__)
#define SEMIHOSTING "hlt 0xf000"
#elif defined(__thumb__)
#define SEMIHOSTING "bkpt 0xab"
#else
#define SEMIHOSTING "svc 0x123456"
#endif

enum { OPEN = 1, WRITE = 5, READ = 6, END = 24, READ_BYTES = 1, WRITE_BYTES = 5, APPLICATION_EXIT = 0x20026 };
enum { LARGEST = 1 << 19 };

static long semihosting(long operation, const void *parameters)
{
#if defined(__aarch64__)
    register long result __asm__("x0") = operation;
    register const void *second __asm__("x1") = parameters;
#else
    register long result __asm__("r0") = operation;
    register const void *second __asm__("r1") = parameters;
#endif
    __asm__ volatile(SEMIHOSTING : "+r"(result) : "r"(second) : "memory");
    return result;
}

static long opened(const char *name, long length, long mode)
{
    const long parameters[3] = {(long)(intptr_t)name, mode, length};
    return semihosting(OPEN, parameters);
}

static long moved(long operation, long file, const void *bytes, long count)
{
    const long parameters[3] = {file, (long)(intptr_t)bytes, count};
    return semihosting(operation, parameters);
}

/* What compilers call where they find a loop that copies or clears. */
void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    }
    return to;
}

void *memset(void *to, int value, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ((volatile uint8_t *)to)[i] = (uint8_t)value;
    }
    return to;
}

/* A job's head in the file; three arrays of bytes follow it: weights, activations, and the results' first values. */
typedef struct {
    int32_t kernel, repeats, arguments[6], weight_bytes, x_bytes, result_bytes;
} job;

static uint64_t weight_store[LARGEST / 8], x_store[LARGEST / 8], result_store[LARGEST / 8];

static void done(const job *it)
{
    const uint8_t *weight = (const uint8_t *)weight_store;
    const uint8_t *x = (const uint8_t *)x_store;
    int32_t *acc = (int32_t *)(void *)result_store;
    const int32_t *a = it->arguments;
    switch (it->kernel) {
    /* CASES */
    default:
        break;
    }
}

static void all_done(void)
{
    static job it;
    const long jobs = opened("jobs", 4, READ_BYTES), results = opened("results", 7, WRITE_BYTES);
    while (moved(READ, jobs, &it, sizeof it) == 0) {
        moved(READ, jobs, weight_store, it.weight_bytes);
        moved(READ, jobs, x_store, it.x_bytes);
        moved(READ, jobs, result_store, it.result_bytes);
        for (int32_t i = 0; i < it.repeats; i++) {
            done(&it);
        }
        moved(WRITE, results, result_store, it.result_bytes);
    }
#if defined(__aarch64__)
    static const long reason[2] = {APPLICATION_EXIT, 0};
    semihosting(END, reason);
#else
    semihosting(END, (const void *)APPLICATION_EXIT);
#endif
}

void _start(void);
void _start(void)
{
#if defined(__ARM_FP) && defined(__thumb__)
    /* The coprocessor access register of Armv7-M: a compiler may move bytes through floating-point registers. */
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
#endif
    all_done();
    for (;;) {
    }
}

#if defined(__thumb__)
extern char stack_top[];
__attribute__((section(".vectors"), used)) static const struct {
    char *stack;
    void (*start)(void);
} vectors = {stack_top, _start};
#endif
