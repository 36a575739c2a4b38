/* Begins a program under emulation, which calls emulated(). Talks to the emulator by semihosting, which user-mode and
   whole-machine emulation have alike. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "emulated.h"

#if defined(__aarch64__)
#define SEMIHOSTING "hlt 0xf000"
#elif defined(__thumb__)
#define SEMIHOSTING "bkpt 0xab"
#else
#define SEMIHOSTING "svc 0x123456"
#endif

enum { OPEN = 1, END = 24, APPLICATION_EXIT = 0x20026 };

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

long opened(const char *name, long length, long mode)
{
    const long parameters[3] = {(long)(intptr_t)name, mode, length};
    return semihosting(OPEN, parameters);
}

long moved(long operation, long file, const void *bytes, long count)
{
    const long parameters[3] = {file, (long)(intptr_t)bytes, count};
    return semihosting(operation, parameters);
}

/* What compilers call to copy and to clear: words of the processor, as a C library does it, which other processors than arm64 want
   aligned. */
enum { WORD = sizeof(uintptr_t) };

static int in_words(uintptr_t places)
{
    return WORD == 8 || places % WORD == 0;
}

void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    size_t done = 0;
    if (in_words((uintptr_t)to | (uintptr_t)from)) {
        for (; done + WORD <= count; done += WORD) {
            *(volatile uintptr_t *)((char *)to + done) = *(const uintptr_t *)((const char *)from + done);
        }
    }
    for (; done < count; done++) {
        ((volatile uint8_t *)to)[done] = ((const uint8_t *)from)[done];
    }
    return to;
}

void *memset(void *to, int value, size_t count)
{
    const uintptr_t word = ~(uintptr_t)0 / 255 * (uint8_t)value;
    size_t done = 0;
    if (in_words((uintptr_t)to)) {
        for (; done + WORD <= count; done += WORD) {
            *(volatile uintptr_t *)((char *)to + done) = word;
        }
    }
    for (; done < count; done++) {
        ((volatile uint8_t *)to)[done] = (uint8_t)value;
    }
    return to;
}

static void ended(void)
{
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
    emulated();
    ended();
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
