#if MODEL_OFFSET == 0 && defined(__ARM_FEATURE_SIMD32)
/* Before a loop of few turns over numbers that stand in registers only once the loop is unrolled. */
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__) && __GNUC__ >= 8
#define UNROLLED _Pragma("GCC unroll 16")
#else
#define UNROLLED
#endif

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

/* Of 4 activations of 16 bits: the first and the third, the second and the fourth. */
__attribute__((unused)) static inline uint32_t even_s16(const int16_t *x)
{
    return (word_at(x) & 0xffff) | word_at(x + 2) << 16;
}

__attribute__((unused)) static inline uint32_t odd_s16(const int16_t *x)
{
    return word_at(x) >> 16 | (word_at(x + 2) & 0xffff0000);
}

/* The pair's numbers, each less that of the other. */
__attribute__((unused)) static inline uint32_t difference(uint32_t pair, uint32_t other)
{
    uint32_t result;
    __asm__("ssub16 %0, %1, %2" : "=r"(result) : "r"(pair), "r"(other));
    return result;
}

/* Adds those of 4 bytes whose byte of bits has its uppermost bit set, and moves up the bits. */
__attribute__((unused)) static inline uint32_t plus_selected(uint32_t sum, uint32_t *bits, uint32_t bytes)
{
    uint32_t selected;
    __asm__("uadd8 %1, %1, %1\n\t"
            "sel %2, %3, %4\n\t"
            "usada8 %0, %2, %4, %0"
            : "+&r"(sum), "+&r"(*bits), "=&r"(selected)
            : "r"(bytes), "r"(0));
    return sum;
}

/* Adds the products of one field of 4 rows' words, unsigned, by 4 activations to the rows' sums. */
#define PLUS_FIELD(sum, word, shift, mask, even, odd)                                    \
    do {                                                                                 \
        UNROLLED                                                                         \
        for (int n = 0; n < 4; ++n) {                                                    \
            (sum)[n] = plus_products((sum)[n], (word)[n] >> (shift) & (mask), even);     \
            (sum)[n] = plus_products((sum)[n], (word)[n] >> ((shift) + 8) & (mask), odd); \
        }                                                                                \
    } while (0)

/* A pair of columns of a quaternion weight's tile, given as four components of 4 rows each, by that pair of each part. */
#define MEET_PARTS(sum, component, r, i, j, k)                               \
    do {                                                                     \
        for (int n = 0; n < 4; ++n) {                                        \
            int32_t yr = (sum)[n][0], yi = (sum)[n][1];                      \
            int32_t yj = (sum)[n][2], yk = (sum)[n][3];                      \
            uint32_t weight = component(0, n), minus;                        \
            yr = plus_products(yr, weight, r);                               \
            yi = plus_products(yi, weight, i);                               \
            yj = plus_products(yj, weight, j);                               \
            yk = plus_products(yk, weight, k);                               \
            weight = component(1, n), minus = difference(0, weight);         \
            yr = plus_products(yr, minus, i);                                \
            yi = plus_products(yi, weight, r);                               \
            yj = plus_products(yj, minus, k);                                \
            yk = plus_products(yk, weight, j);                               \
            weight = component(2, n), minus = difference(0, weight);         \
            yr = plus_products(yr, minus, j);                                \
            yi = plus_products(yi, weight, k);                               \
            yj = plus_products(yj, weight, r);                               \
            yk = plus_products(yk, minus, i);                                \
            weight = component(3, n), minus = difference(0, weight);         \
            (sum)[n][0] = plus_products(yr, minus, k);                       \
            (sum)[n][1] = plus_products(yi, minus, j);                       \
            (sum)[n][2] = plus_products(yj, weight, i);                      \
            (sum)[n][3] = plus_products(yk, weight, r);                      \
        }                                                                    \
    } while (0)
#endif
