/* acc[n] += sum over k of w[n][k] * (x[k] - MODEL_OFFSET), modulo 2^32: weights of 8 bits,
   in tiles of MODEL_TILE rows by 4 columns. rows is a multiple of MODEL_TILE, columns of 4. */
static void matvec_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const int8_t *w = (const int8_t *)weight;
    uint32_t *sum = (uint32_t *)acc; /* unsigned, since it may wrap */
    for (size_t first = 0; first < rows; first += MODEL_TILE) {
        for (size_t column = 0; column < columns; column += 4) {
            const int32_t x0 = x[column + 0] - MODEL_OFFSET;
            const int32_t x1 = x[column + 1] - MODEL_OFFSET;
            const int32_t x2 = x[column + 2] - MODEL_OFFSET;
            const int32_t x3 = x[column + 3] - MODEL_OFFSET;
            for (size_t row = first; row < first + MODEL_TILE; ++row, w += 4) {
                sum[row] += (uint32_t)(w[0] * x0 + w[1] * x1 + w[2] * x2 + w[3] * x3);
            }
        }
    }
}
