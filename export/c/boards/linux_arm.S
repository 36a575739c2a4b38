/* A program without a C library on 32-bit ARM Linux: its start, and reading and writing by system calls. */
    .syntax unified
    .arm
    .text

    .global _start
    .type _start, %function
_start:
    mov     r11, #0
    bl      main
    mov     r7, #1                  /* exit */
    svc     #0

    /* long board_read(void *bytes, size_t count): from standard input */
    .global board_read
    .type board_read, %function
board_read:
    push    {r7, lr}
    mov     r2, r1
    mov     r1, r0
    mov     r0, #0
    mov     r7, #3                  /* read */
    svc     #0
    pop     {r7, pc}

    /* long board_write(const void *bytes, size_t count): to standard output */
    .global board_write
    .type board_write, %function
board_write:
    push    {r7, lr}
    mov     r2, r1
    mov     r1, r0
    mov     r0, #1
    mov     r7, #4                  /* write */
    svc     #0
    pop     {r7, pc}

    .section .note.GNU-stack, "", %progbits
