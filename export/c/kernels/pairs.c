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

/* Volatile keeps the order: compilers otherwise begin more rows than there are registers for. */
__attribute__((unused)) static inline int32_t plus_products(int32_t sum, uint32_t pair, uint32_t other)
{
    __asm__ volatile("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(pair), "r"(other));
    return sum;
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

/* 4 codes of 4 bits, each widened to its byte: those of the lower halves, or with shift = 4 of the upper ones. */
__attribute__((unused)) static inline uint32_t codes_w4(uint32_t word, unsigned shift)
{
    const uint32_t eights = 0x08080808;
    uint32_t result;
    __asm__("ssub8 %0, %1, %2" : "=r"(result) : "r"((word >> shift & 0x0f0f0f0f) ^ eights), "r"(eights));
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

/* A pair of columns of one row of a quaternion weight, whose components stand 16 bytes apart, by that pair of each part of x;
   the row's four sums stand together. One piece, as two_rows is. */
#define COMPONENT(first, minus, at, then) "ldr r9, [%1" at "\n\tsxtb16 r9, r9" then "\n\t" minus first
#define SMLAD(sum, weight, part) "smlad " sum ", " weight ", %" part ", " sum "\n\t"
#define MINUS "ssub16 r10, %6, r9\n\t"
#define ROW_MEETS_PARTS(sum, w, r, i, j, k, rotated)                                                                    \
    __asm__("ldm %0, {r4, r5, r6, r8}\n\t"                                                                              \
            COMPONENT(SMLAD("r4", "r9", "2") SMLAD("r5", "r9", "3") SMLAD("r6", "r9", "4") SMLAD("r8", "r9", "5"), "",   \
                      "], #4", rotated)                                                                                 \
            COMPONENT(SMLAD("r4", "r10", "3") SMLAD("r5", "r9", "2") SMLAD("r6", "r10", "5") SMLAD("r8", "r9", "4"),     \
                      MINUS, ", #12]", rotated)                                                                         \
            COMPONENT(SMLAD("r4", "r10", "4") SMLAD("r5", "r9", "5") SMLAD("r6", "r9", "2") SMLAD("r8", "r10", "3"),     \
                      MINUS, ", #28]", rotated)                                                                         \
            COMPONENT(SMLAD("r4", "r10", "5") SMLAD("r5", "r10", "4") SMLAD("r6", "r9", "3") SMLAD("r8", "r9", "2"),     \
                      MINUS, ", #44]", rotated)                                                                         \
            "stmia %0!, {r4, r5, r6, r8}"                                                                               \
            : "+&r"(sum), "+&r"(w)                                                                                       \
            : "r"(r), "r"(i), "r"(j), "r"(k), "r"(0)                                                                    \
            : "r4", "r5", "r6", "r8", "r9", "r10", "memory")

__attribute__((unused)) static inline void even_pairs_meet(int32_t *sum, const uint32_t *w, uint32_t r, uint32_t i, uint32_t j,
                                                           uint32_t k)
{
    for (const int32_t *const end = sum + 16; sum != end;) {
        ROW_MEETS_PARTS(sum, w, r, i, j, k, "");
    }
}

__attribute__((unused)) static inline void odd_pairs_meet(int32_t *sum, const uint32_t *w, uint32_t r, uint32_t i, uint32_t j,
                                                          uint32_t k)
{
    for (const int32_t *const end = sum + 16; sum != end;) {
        ROW_MEETS_PARTS(sum, w, r, i, j, k, ", ror #8");
    }
}
#endif
