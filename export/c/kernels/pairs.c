#if MODEL_OFFSET == 0 && defined(__ARM_FEATURE_SIMD32)
/* Two numbers of 16 bits in a word, as Armv6 and the DSP extension of Armv7-M take them. Bytes 0 and 2 of a word, or 1 and 3,
   widen in one instruction; one more multiplies two pairs and adds both products, modulo 2^32. Assembly, because compilers
   disagree on the types of their own names for these (arm_acle.h). */
__attribute__((unused)) static inline uint32_t even_u8(uint32_t word)
{
    uint32_t pair;
    __asm__("uxtb16 %0, %1" : "=r"(pair) : "r"(word));
    return pair;
}

__attribute__((unused)) static inline uint32_t odd_u8(uint32_t word)
{
    uint32_t pair;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
}

__attribute__((unused)) static inline uint32_t even_s8(uint32_t word)
{
    uint32_t pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
    return pair;
}

__attribute__((unused)) static inline uint32_t odd_s8(uint32_t word)
{
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
}

__attribute__((unused)) static inline int32_t plus_products(int32_t sum, uint32_t pair, uint32_t other)
{
    int32_t result;
    __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(pair), "r"(other), "r"(sum));
    return result;
}

__attribute__((unused)) static inline uint32_t word_at(const void *bytes)
{
    uint32_t word;
    __builtin_memcpy(&word, bytes, sizeof word);
    return word;
}

/* Two rows of weights of 8 bits times 4 activations, which stand in even and odd; the address behind the rows. One piece, since
   compilers keep more in registers than there are when they order these themselves. */
__attribute__((unused)) static inline const uint32_t *two_rows(const uint32_t *w, uint32_t even, uint32_t odd, int32_t *sum0,
                                                               int32_t *sum1)
{
    __asm__("ldmia %0!, {r4, r5}\n\t"
            "sxtb16 r6, r4\n\t"
            "sxtb16 r4, r4, ror #8\n\t"
            "smlad %1, r6, %3, %1\n\t"
            "sxtb16 r6, r5\n\t"
            "sxtb16 r5, r5, ror #8\n\t"
            "smlad %2, r6, %3, %2\n\t"
            "smlad %1, r4, %4, %1\n\t"
            "smlad %2, r5, %4, %2"
            : "+&r"(w), "+&r"(*sum0), "+&r"(*sum1)
            : "r"(even), "r"(odd)
            : "r4", "r5", "r6", "memory");
    return w;
}
#endif
