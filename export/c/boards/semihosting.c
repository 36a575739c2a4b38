/* Reading and writing on a microcontroller: the emulator's own standard input and output, by Arm's semihosting. */
#include "board.h"

int32_t semihosting(uint32_t operation, const void *arguments);

enum { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_READ = 0x06 };
/* Modes of fopen: "rb" and "wb". */
enum { READ_BINARY = 1, WRITE_BINARY = 5 };

static uint32_t word(const void *bytes)
{
    return (uint32_t)(uintptr_t)bytes;
}

static uint32_t opened(const char *name, uint32_t length, uint32_t mode)
{
    uint32_t arguments[3] = {word(name), mode, length};

    return (uint32_t)semihosting(SYS_OPEN, arguments);
}

long board_read(void *bytes, size_t count)
{
    static uint32_t handle;
    uint32_t arguments[3];

    if (handle == 0) {
        handle = opened("/dev/stdin", 10, READ_BINARY);
    }
    arguments[0] = handle;
    arguments[1] = word(bytes);
    arguments[2] = (uint32_t)count;
    /* It says how many were not read. */
    return (long)count - (long)semihosting(SYS_READ, arguments);
}

long board_write(const void *bytes, size_t count)
{
    static uint32_t handle;
    uint32_t arguments[3];

    if (handle == 0) {
        handle = opened("/dev/stdout", 11, WRITE_BINARY);
    }
    arguments[0] = handle;
    arguments[1] = word(bytes);
    arguments[2] = (uint32_t)count;
    return (long)count - (long)semihosting(SYS_WRITE, arguments);
}
