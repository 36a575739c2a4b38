/* needs: dot_products */
/* The sum over all columns, less twice that where the sign is -1 (matvec_u8_w1), of activations in two bytes. */
static void matvec_s16_w1(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns)
{
    const int more = any_more(x, columns);
    int32x4_t all = vdupq_n_s32(0);
    for (size_t column = 0; column < columns; column += 8) {
        all = vpadalq_s16(all, vld1q_s16(x + column));
    }
    const int32x4_t total = vdupq_n_s32(vaddvq_s32(all));
    const uint8_t *w = weight;
    for (size_t row = 0; row < rows; row += 16) {
        int32x4x4_t low = no_sums(), high = no_sums();
        for (size_t column = 0; column < columns; column += 32, w += 64) {
            for (size_t half = 0; half < 2; ++half) {
                const int16_t *from = x + column + 16 * half;
                const signed_bytes v = bytes_of(vld1q_s16(from), vld1q_s16(from + 8));
                const uint8x16_t bit = vdupq_n_u8((uint8_t)(half == 0 ? 1 : 16));
                int8x16x4_t w0, w1, w2, w3;
                for (int group = 0; group < 4; ++group) {
                    const uint8x16_t b = vld1q_u8(w + 16 * group);
                    w0.val[group] = vreinterpretq_s8_u8(vtstq_u8(b, bit));
                    w1.val[group] = vreinterpretq_s8_u8(vtstq_u8(b, vshlq_n_u8(bit, 1)));
                    w2.val[group] = vreinterpretq_s8_u8(vtstq_u8(b, vshlq_n_u8(bit, 2)));
                    w3.val[group] = vreinterpretq_s8_u8(vtstq_u8(b, vshlq_n_u8(bit, 3)));
                }
                DOT_TILE(low, w0, v.low, 0);
                DOT_TILE(high, w0, v.high, 0);
                DOT_TILE(low, w1, v.low, 1);
                DOT_TILE(high, w1, v.high, 1);
                DOT_TILE(low, w2, v.low, 2);
                DOT_TILE(high, w2, v.high, 2);
                DOT_TILE(low, w3, v.low, 3);
                DOT_TILE(high, w3, v.high, 3);
                if (more) {
                    DOT_TILE(high, w0, v.more, 0);
                    DOT_TILE(high, w1, v.more, 1);
                    DOT_TILE(high, w2, v.more, 2);
                    DOT_TILE(high, w3, v.more, 3);
                }
            }
        }
        for (int group = 0; group < 4; ++group) {
            int32_t *to = acc + row + 4 * group;
            const int32x4_t negative = vaddq_s32(low.val[group], vshlq_n_s32(high.val[group], 8));
            vst1q_s32(to, vaddq_s32(vld1q_s32(to), vaddq_s32(total, vshlq_n_s32(negative, 1))));
        }
    }
}
