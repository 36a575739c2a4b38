/* needs: neon_sums */
/* As matvec_u8_w8, of 8 rows at a time, or of 4 where a tile has no more: their weights are loaded once for four vectors. */
static void matvec4_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t stride, size_t rows,
                          size_t columns)
{
    enum { TOGETHER = GROUPS == 1 ? 1 : 2 };
    for (size_t row = 0; row < rows; row += 4 * TOGETHER) {
        const int8_t *w = (const int8_t *)weight + row / MODEL_TILE * MODEL_TILE * columns + row % MODEL_TILE * 4;
        int32x4_t low[TOGETHER][4], high[TOGETHER][4];
        UNROLLED
        for (size_t group = 0; group < TOGETHER; ++group) {
            UNROLLED
            for (size_t p = 0; p < 4; ++p) {
                low[group][p] = high[group][p] = vdupq_n_s32(0);
            }
        }
        const uint8_t *from = x;
        size_t column = 0;
        for (; column + 8 <= columns; column += 8, from += 8, w += 8 * MODEL_TILE) {
            UNROLLED
            for (size_t p = 0; p < 4; ++p) {
                const int32x2_t v = vreinterpret_s32_u8(veor_u8(vld1_u8(from + p * stride), vdup_n_u8(128)));
                const int8x16_t v0 = FOUR_OF_EIGHT(v, 0), v1 = FOUR_OF_EIGHT(v, 1);
                UNROLLED
                for (size_t group = 0; group < TOGETHER; ++group) {
                    const int8x16_t w0 = vld1q_s8(w + 16 * group), w1 = vld1q_s8(w + 4 * MODEL_TILE + 16 * group);
                    plus_two(&low[group][p], &high[group][p], w0, v0, w1, v1);
                }
            }
        }
        UNROLLED
        for (size_t p = 0; p < 4; ++p) {
            UNROLLED
            for (size_t group = 0; group < TOGETHER; ++group) {
                if (column < columns) {
                    const int8x16_t v = four_less_128(from + p * stride), w0 = vld1q_s8(w + 16 * group);
                    low[group][p] = vpadalq_s16(low[group][p], low_products(w0, v));
                    high[group][p] = vpadalq_s16(high[group][p], high_products(w0, v));
                }
                add_to(acc + p * rows + row + 4 * group, sums_of_pairs(low[group][p], high[group][p]));
            }
        }
    }
}
