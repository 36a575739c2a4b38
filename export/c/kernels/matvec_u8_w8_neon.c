#include <arm_neon.h>
/* A vector of weights is 4 rows by 4 columns. Two products of a byte by a weight of at most 127 fit 16 bits, so that columns
   k and k + 4 are added there, and neighbours when the sum goes to 32 bits: lanes 2r and 2r + 1 belong to row r. */
static void matvec_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const int8_t *w = (const int8_t *)weight;
    for (size_t row = 0; row < rows; row += 16) {
        int32x4_t sum[8];
        for (int half = 0; half < 8; ++half) {
            sum[half] = vdupq_n_s32(0);
        }
        size_t column = 0;
        for (; column + 8 <= columns; column += 8, w += 128) {
            const int8x8_t v = vreinterpret_s8_u8(veor_u8(vld1_u8(x + column), vdup_n_u8(128)));
            const int8x16_t v0 = vreinterpretq_s8_s32(vdupq_lane_s32(vreinterpret_s32_s8(v), 0));
            const int8x16_t v1 = vreinterpretq_s8_s32(vdupq_lane_s32(vreinterpret_s32_s8(v), 1));
            const int8x16x4_t w0 = vld1q_s8_x4(w), w1 = vld1q_s8_x4(w + 64);
            for (int group = 0; group < 4; ++group) {
                int16x8_t low = vmull_s8(vget_low_s8(w0.val[group]), vget_low_s8(v0));
                int16x8_t high = vmull_high_s8(w0.val[group], v0);
                low = vmlal_s8(low, vget_low_s8(w1.val[group]), vget_low_s8(v1));
                high = vmlal_high_s8(high, w1.val[group], v1);
                sum[2 * group] = vpadalq_s16(sum[2 * group], low);
                sum[2 * group + 1] = vpadalq_s16(sum[2 * group + 1], high);
            }
        }
        if (column < columns) {
            uint32_t four;
            __builtin_memcpy(&four, x + column, sizeof four);
            const int8x16_t v = vreinterpretq_s8_u32(vdupq_n_u32(four ^ 0x80808080u));
            for (int group = 0; group < 4; ++group) {
                const int8x16_t w0 = vld1q_s8(w + 16 * group);
                sum[2 * group] = vpadalq_s16(sum[2 * group], vmull_s8(vget_low_s8(w0), vget_low_s8(v)));
                sum[2 * group + 1] = vpadalq_s16(sum[2 * group + 1], vmull_high_s8(w0, v));
            }
            w += 64;
        }
        for (int group = 0; group < 4; ++group) {
            int32_t *to = acc + row + 4 * group;
            vst1q_s32(to, vaddq_s32(vld1q_s32(to), vpaddq_s32(sum[2 * group], sum[2 * group + 1])));
        }
    }
}
