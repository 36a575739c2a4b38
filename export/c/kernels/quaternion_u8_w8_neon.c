/* needs: neon_sums */
/* 4 rows at a time: each component is loaded once and meets all four parts. A minus is in the weights, which are never -128.
   The products of two parts fit 16 bits together. */
static void quaternion_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns,
                             size_t part)
{
    for (size_t row = 0; row < rows; row += 4) {
        const int8_t *w = (const int8_t *)weight + row / MODEL_TILE * MODEL_TILE * 4 * columns + row % MODEL_TILE * 4;
        int32x4_t low[4], high[4];
        UNROLLED
        for (size_t p = 0; p < 4; ++p) {
            low[p] = high[p] = vdupq_n_s32(0);
        }
        for (size_t column = 0; column < columns; column += 4, w += 16 * MODEL_TILE) {
            const int8x16_t wr = vld1q_s8(w), wi = vld1q_s8(w + 4 * MODEL_TILE);
            const int8x16_t wj = vld1q_s8(w + 8 * MODEL_TILE), wk = vld1q_s8(w + 12 * MODEL_TILE);
            const int8x16_t ni = vnegq_s8(wi), nj = vnegq_s8(wj), nk = vnegq_s8(wk);
            const uint8_t *from = x + column;
            const int8x16_t r = four_less_128(from), i = four_less_128(from + part);
            const int8x16_t j = four_less_128(from + 2 * part), k = four_less_128(from + 3 * part);
            plus_two(&low[0], &high[0], wr, r, ni, i);
            plus_two(&low[0], &high[0], nj, j, nk, k);
            plus_two(&low[1], &high[1], wi, r, wr, i);
            plus_two(&low[1], &high[1], nk, j, wj, k);
            plus_two(&low[2], &high[2], wj, r, wk, i);
            plus_two(&low[2], &high[2], wr, j, ni, k);
            plus_two(&low[3], &high[3], wk, r, nj, i);
            plus_two(&low[3], &high[3], wi, j, wr, k);
        }
        UNROLLED
        for (size_t p = 0; p < 4; ++p) {
            add_to(acc + p * rows + row, sums_of_pairs(low[p], high[p]));
        }
    }
}
