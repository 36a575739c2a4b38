/* needs: dot_products */
/* One test makes -1 of a set bit and 0 of another: the sum over all columns, less twice that where the sign is -1. */
static void matvec_u8_w1(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    int32x4_t all = vdupq_n_s32(0);
    for (size_t column = 0; column < columns; column += 16) {
        all = vdotq_s32(all, less_128(vld1q_u8(x + column)), vdupq_n_s8(1));
    }
    const int32x4_t total = vdupq_n_s32(vaddvq_s32(all));
    const uint8_t *w = weight;
    for (size_t row = 0; row < rows; row += 16) {
        int32x4x4_t sum = no_sums();
        for (size_t column = 0; column < columns; column += 32, w += 64) {
            const int8x16_t v0 = less_128(vld1q_u8(x + column)), v1 = less_128(vld1q_u8(x + column + 16));
            const uint8x16x4_t bits = vld1q_u8_x4(w);
            for (int group = 0; group < 4; ++group) {
                int32x4_t s = sum.val[group];
                const uint8x16_t b = bits.val[group];
                s = vdotq_laneq_s32(s, vreinterpretq_s8_u8(vtstq_u8(b, vdupq_n_u8(1))), v0, 0);
                s = vdotq_laneq_s32(s, vreinterpretq_s8_u8(vtstq_u8(b, vdupq_n_u8(2))), v0, 1);
                s = vdotq_laneq_s32(s, vreinterpretq_s8_u8(vtstq_u8(b, vdupq_n_u8(4))), v0, 2);
                s = vdotq_laneq_s32(s, vreinterpretq_s8_u8(vtstq_u8(b, vdupq_n_u8(8))), v0, 3);
                s = vdotq_laneq_s32(s, vreinterpretq_s8_u8(vtstq_u8(b, vdupq_n_u8(16))), v1, 0);
                s = vdotq_laneq_s32(s, vreinterpretq_s8_u8(vtstq_u8(b, vdupq_n_u8(32))), v1, 1);
                s = vdotq_laneq_s32(s, vreinterpretq_s8_u8(vtstq_u8(b, vdupq_n_u8(64))), v1, 2);
                s = vdotq_laneq_s32(s, vreinterpretq_s8_u8(vtstq_u8(b, vdupq_n_u8(128))), v1, 3);
                sum.val[group] = s;
            }
        }
        for (int group = 0; group < 4; ++group) {
            int32_t *to = acc + row + 4 * group;
            vst1q_s32(to, vaddq_s32(vld1q_s32(to), vaddq_s32(total, vshlq_n_s32(sum.val[group], 1))));
        }
    }
}
