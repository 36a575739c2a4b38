/* A program on a Cortex-M that an emulator or a debugger serves: vectors, the start, and semihosting calls.
   Only instructions that every Cortex-M has. */
    .syntax unified
    .thumb

    .section .vectors, "a", %progbits
    .global vectors
vectors:
    .word   stack_top
    .word   _start
    .rept   14
    .word   fault
    .endr

    .text

    .global _start
    .type _start, %function
    .thumb_func
_start:
#if defined(__ARM_FP)
    ldr     r0, =0xE000ED88         /* CPACR: the compiler may move memory through registers of the FPU */
    ldr     r1, [r0]
    ldr     r2, =0x00F00000
    orrs    r1, r2
    str     r1, [r0]
    dsb
    isb
#endif
    ldr     r0, =bss_begin
    ldr     r1, =bss_end
    movs    r2, #0
clear:
    cmp     r0, r1
    bhs     cleared
    str     r2, [r0]
    adds    r0, #4
    b       clear
cleared:
    bl      main
    cmp     r0, #0
    bne     fault
    ldr     r1, =0x20026            /* ADP_Stopped_ApplicationExit */
    b       leave

    .global fault
    .type fault, %function
    .thumb_func
fault:
    ldr     r1, =0x20023            /* ADP_Stopped_RunTimeErrorUnknown */
leave:
    movs    r0, #0x18               /* SYS_EXIT */
    bkpt    #0xAB
    b       leave

    /* int32_t semihosting(uint32_t operation, const void *arguments) */
    .global semihosting
    .type semihosting, %function
    .thumb_func
semihosting:
    bkpt    #0xAB
    bx      lr

    .pool
