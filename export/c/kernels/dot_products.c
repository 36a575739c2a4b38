#if MODEL_OFFSET == 128 && defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
/* 16 rows by 4 columns of weights, a vector for each 4 rows, times the 4 activations of one lane: sums of 16 rows. */
#define DOT_TILE(sum, w, x, lane)                                                  \
    do {                                                                           \
        (sum).val[0] = vdotq_laneq_s32((sum).val[0], (w).val[0], x, lane);         \
        (sum).val[1] = vdotq_laneq_s32((sum).val[1], (w).val[1], x, lane);         \
        (sum).val[2] = vdotq_laneq_s32((sum).val[2], (w).val[2], x, lane);         \
        (sum).val[3] = vdotq_laneq_s32((sum).val[3], (w).val[3], x, lane);         \
    } while (0)

__attribute__((unused)) static inline int32x4x4_t no_sums(void)
{
    const int32x4_t zero = vdupq_n_s32(0);
    const int32x4x4_t sum = {{zero, zero, zero, zero}};
    return sum;
}

/* One by one: an instruction that loads or stores four vectors wants them in neighbouring registers. */
__attribute__((unused)) static inline int8x16x4_t tile_at(const int8_t *w)
{
    const int8x16x4_t tile = {{vld1q_s8(w), vld1q_s8(w + 16), vld1q_s8(w + 32), vld1q_s8(w + 48)}};
    return tile;
}

__attribute__((unused)) static inline int32x4x4_t sums_at(const int32_t *acc)
{
    const int32x4x4_t sum = {{vld1q_s32(acc), vld1q_s32(acc + 4), vld1q_s32(acc + 8), vld1q_s32(acc + 12)}};
    return sum;
}

__attribute__((unused)) static inline void put_sums(int32_t *acc, int32x4x4_t sum)
{
    vst1q_s32(acc, sum.val[0]);
    vst1q_s32(acc + 4, sum.val[1]);
    vst1q_s32(acc + 8, sum.val[2]);
    vst1q_s32(acc + 12, sum.val[3]);
}

/* 16 times the codes in the lower halves of a tile's bytes, and in the upper ones. */
__attribute__((unused)) static inline int8x16x4_t lower_codes(int8x16x4_t w)
{
    const int8x16x4_t codes = {{vshlq_n_s8(w.val[0], 4), vshlq_n_s8(w.val[1], 4), vshlq_n_s8(w.val[2], 4),
                                vshlq_n_s8(w.val[3], 4)}};
    return codes;
}

__attribute__((unused)) static inline int8x16x4_t upper_codes(int8x16x4_t w)
{
    const int8x16_t upper = vdupq_n_s8(-16);
    const int8x16x4_t codes = {{vandq_s8(w.val[0], upper), vandq_s8(w.val[1], upper), vandq_s8(w.val[2], upper),
                                vandq_s8(w.val[3], upper)}};
    return codes;
}

/* Activations less 128: the 16 at x, or the 8, or the 4, in the lowest lanes. */
__attribute__((unused)) static inline int8x16_t less_128(uint8x16_t x)
{
    return vreinterpretq_s8_u8(veorq_u8(x, vdupq_n_u8(128)));
}

__attribute__((unused)) static inline int8x16_t four_less_128(const uint8_t *x)
{
    uint32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return less_128(vreinterpretq_u8_u32(vdupq_n_u32(four)));
}

/* x = 256 * high + low, both signed bytes. From 32,640 on high would be 128: there it is 127 and
   more is 1, elsewhere 0. */
typedef struct {
    int8x16_t low, high, more;
} signed_bytes;

__attribute__((unused)) static inline signed_bytes bytes_of(int16x8_t x0, int16x8_t x1)
{
    const int8x16_t low = vuzp1q_s8(vreinterpretq_s8_s16(x0), vreinterpretq_s8_s16(x1));
    const int8x16_t top = vuzp2q_s8(vreinterpretq_s8_s16(x0), vreinterpretq_s8_s16(x1));
    const int8x16_t borrow = vshrq_n_s8(low, 7);
    const int8x16_t high = vqsubq_s8(top, borrow);
    const signed_bytes bytes = {low, high, vsubq_s8(vsubq_s8(top, borrow), high)};
    return bytes;
}

__attribute__((unused)) static inline signed_bytes four_bytes_of(const int16_t *x)
{
    const int16x8_t four = vcombine_s16(vld1_s16(x), vdup_n_s16(0));
    return bytes_of(four, four);
}

/* Whether an activation is 32,640 or more; columns is a multiple of 4. */
__attribute__((unused)) static inline int any_more(const int16_t *x, size_t columns)
{
    int16x4_t most = vdup_n_s16(0);
    for (size_t column = 0; column < columns; column += 4) {
        most = vmax_s16(most, vld1_s16(x + column));
    }
    return vmaxv_s16(most) >= 32640;
}
#endif
