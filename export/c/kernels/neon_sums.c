#if MODEL_OFFSET == 128 && defined(__ARM_NEON) && !(defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD))
#include <arm_neon.h>
/* Groups of 4 rows: each has a vector of weights for 4 columns. */
enum { GROUPS = MODEL_TILE / 4 };

/* Before a loop of few turns over an array of vectors, which stands in registers only once the loop is unrolled. */
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__) && __GNUC__ >= 8
#define UNROLLED _Pragma("GCC unroll 16")
#else
#define UNROLLED
#endif

/* Sums of neighbouring lanes, those of a first. */
__attribute__((unused)) static inline int32x4_t sums_of_pairs(int32x4_t a, int32x4_t b)
{
#if defined(__aarch64__)
    return vpaddq_s32(a, b);
#else
    return vcombine_s32(vpadd_s32(vget_low_s32(a), vget_high_s32(a)), vpadd_s32(vget_low_s32(b), vget_high_s32(b)));
#endif
}

__attribute__((unused)) static inline void add_to(int32_t *acc, int32x4_t sum)
{
    vst1q_s32(acc, vaddq_s32(vld1q_s32(acc), sum));
}

/* A compiler that knows both halves to be alike takes the lower one for both, and then cannot use the instructions that
   multiply upper halves where they are. */
#if defined(__aarch64__)
#define KEEP_BOTH_HALVES(v) __asm__("" : "+w"(v))
#else
#define KEEP_BOTH_HALVES(v) (void)(v)
#endif

/* One half of 8 activations in both halves of a vector. */
#if defined(__aarch64__)
#define FOUR_OF_EIGHT(v, lane) vreinterpretq_s8_s32(vdupq_lane_s32(v, lane))
#else
#define FOUR_OF_EIGHT(v, lane) vreinterpretq_s8_s32(vcombine_s32(vdup_lane_s32(v, lane), vdup_lane_s32(v, lane)))
#endif

/* The 4 activations at x, less 128, beside each other again and again. */
__attribute__((unused)) static inline int8x16_t four_less_128(const uint8_t *x)
{
    uint32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    int8x16_t v = vreinterpretq_s8_u32(vdupq_n_u32(four ^ 0x80808080u));
    KEEP_BOTH_HALVES(v);
    return v;
}

__attribute__((unused)) static inline int16x8_t four_twice(const int16_t *x)
{
    int16x8_t v = vcombine_s16(vld1_s16(x), vld1_s16(x));
    KEEP_BOTH_HALVES(v);
    return v;
}

/* Products of the lower or the upper 8 weights and activations. */
__attribute__((unused)) static inline int16x8_t low_products(int8x16_t w, int8x16_t x)
{
    return vmull_s8(vget_low_s8(w), vget_low_s8(x));
}

__attribute__((unused)) static inline int16x8_t high_products(int8x16_t w, int8x16_t x)
{
    return vmull_s8(vget_high_s8(w), vget_high_s8(x));
}

__attribute__((unused)) static inline int16x8_t plus_low_products(int16x8_t sum, int8x16_t w, int8x16_t x)
{
    return vmlal_s8(sum, vget_low_s8(w), vget_low_s8(x));
}

__attribute__((unused)) static inline int16x8_t plus_high_products(int16x8_t sum, int8x16_t w, int8x16_t x)
{
    return vmlal_s8(sum, vget_high_s8(w), vget_high_s8(x));
}

/* 4 rows by 4 columns times 4 activations of 16 bits, which x holds twice: row n adds to lanes of sum[n]. */
__attribute__((unused)) static inline void plus_wide_products(int32x4_t *sum, int8x16_t w, int16x8_t x)
{
    const int16x8_t low = vmovl_s8(vget_low_s8(w)), high = vmovl_s8(vget_high_s8(w));
    sum[0] = vmlal_s16(sum[0], vget_low_s16(low), vget_low_s16(x));
    sum[1] = vmlal_s16(sum[1], vget_high_s16(low), vget_high_s16(x));
    sum[2] = vmlal_s16(sum[2], vget_low_s16(high), vget_low_s16(x));
    sum[3] = vmlal_s16(sum[3], vget_high_s16(high), vget_high_s16(x));
}

/* The sums of 4 rows, from 4 lanes each. */
__attribute__((unused)) static inline int32x4_t row_sums(const int32x4_t *sum)
{
    return sums_of_pairs(sums_of_pairs(sum[0], sum[1]), sums_of_pairs(sum[2], sum[3]));
}

/* Two products of 8 codes each, by the lower and the upper 8 activations. */
__attribute__((unused)) static inline void plus_products(int16x8_t *low, int16x8_t *high, int8x16_t code, int8x16_t x)
{
    *low = plus_low_products(*low, code, x);
    *high = plus_high_products(*high, code, x);
}

/* 4 columns of two vectors of weights, each by its activations: the products of both fit 16 bits. */
__attribute__((unused)) static inline void plus_two(int32x4_t *low, int32x4_t *high, int8x16_t w0, int8x16_t x0, int8x16_t w1,
                                                    int8x16_t x1)
{
    *low = vpadalq_s16(*low, plus_low_products(low_products(w0, x0), w1, x1));
    *high = vpadalq_s16(*high, plus_high_products(high_products(w0, x0), w1, x1));
}

/* The code at these bits of each byte, widened to the byte: CODES(w, 4, 0) is that of the lower 4 bits. */
#define CODES(w, bits, field) vshrq_n_s8(vshlq_n_s8(w, 8 - (bits) * ((field) + 1)), 8 - (bits))

/* 4 columns of the components r, i, j and k of a quaternion weight by those of the parts of x, a part further each. */
__attribute__((unused)) static inline void meet_parts(int16x8_t *low, int16x8_t *high, int8x16_t wr, int8x16_t wi, int8x16_t wj,
                                                      int8x16_t wk, const uint8_t *x, size_t part)
{
    const int8x16_t r = four_less_128(x), i = four_less_128(x + part);
    const int8x16_t j = four_less_128(x + 2 * part), k = four_less_128(x + 3 * part);
    const int8x16_t ni = vnegq_s8(wi), nj = vnegq_s8(wj), nk = vnegq_s8(wk);
    plus_products(&low[0], &high[0], wr, r);
    plus_products(&low[0], &high[0], ni, i);
    plus_products(&low[0], &high[0], nj, j);
    plus_products(&low[0], &high[0], nk, k);
    plus_products(&low[1], &high[1], wi, r);
    plus_products(&low[1], &high[1], wr, i);
    plus_products(&low[1], &high[1], nk, j);
    plus_products(&low[1], &high[1], wj, k);
    plus_products(&low[2], &high[2], wj, r);
    plus_products(&low[2], &high[2], wk, i);
    plus_products(&low[2], &high[2], wr, j);
    plus_products(&low[2], &high[2], ni, k);
    plus_products(&low[3], &high[3], wk, r);
    plus_products(&low[3], &high[3], nj, i);
    plus_products(&low[3], &high[3], wi, j);
    plus_products(&low[3], &high[3], wr, k);
}

/* -1 where that bit is set, +1 elsewhere. */
__attribute__((unused)) static inline int8x16_t signs(uint8x16_t w, unsigned bit)
{
    return vreinterpretq_s8_u8(vorrq_u8(vtstq_u8(w, vdupq_n_u8((uint8_t)(1u << bit))), vdupq_n_u8(1)));
}
#endif
