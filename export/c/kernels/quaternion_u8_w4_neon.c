/* needs: neon_sums */
/* 4 rows at a time. A minus is in the codes, of which 8 products a lane fit 16 bits by far. */
static void quaternion_u8_w4(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns,
                             size_t part)
{
    for (size_t row = 0; row < rows; row += 4) {
        const int8_t *w = (const int8_t *)weight + row / MODEL_TILE * MODEL_TILE * 2 * columns + row % MODEL_TILE * 4;
        int32x4_t low[4], high[4];
        UNROLLED
        for (size_t p = 0; p < 4; ++p) {
            low[p] = high[p] = vdupq_n_s32(0);
        }
        for (size_t column = 0; column < columns; column += 8, w += 16 * MODEL_TILE) {
            int16x8_t short_low[4], short_high[4];
            UNROLLED
            for (size_t p = 0; p < 4; ++p) {
                short_low[p] = short_high[p] = vdupq_n_s16(0);
            }
            meet_parts(short_low, short_high, CODES(vld1q_s8(w), 4, 0), CODES(vld1q_s8(w + 4 * MODEL_TILE), 4, 0),
                       CODES(vld1q_s8(w + 8 * MODEL_TILE), 4, 0), CODES(vld1q_s8(w + 12 * MODEL_TILE), 4, 0),
                       x + column, part);
            meet_parts(short_low, short_high, CODES(vld1q_s8(w), 4, 1), CODES(vld1q_s8(w + 4 * MODEL_TILE), 4, 1),
                       CODES(vld1q_s8(w + 8 * MODEL_TILE), 4, 1), CODES(vld1q_s8(w + 12 * MODEL_TILE), 4, 1),
                       x + column + 4, part);
            UNROLLED
            for (size_t p = 0; p < 4; ++p) {
                low[p] = vpadalq_s16(low[p], short_low[p]);
                high[p] = vpadalq_s16(high[p], short_high[p]);
            }
        }
        UNROLLED
        for (size_t p = 0; p < 4; ++p) {
            add_to(acc + p * rows + row, sums_of_pairs(low[p], high[p]));
        }
    }
}
