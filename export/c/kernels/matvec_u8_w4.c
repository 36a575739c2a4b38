/* acc[n] += sum over k of w[n][k] * (x[k] - MODEL_OFFSET), modulo 2^32: weights of 4 bits, two a byte,
   in tiles of MODEL_TILE rows by 8 columns. rows is a multiple of MODEL_TILE, columns of 8. */
static void matvec_u8_w4(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const uint8_t *w = weight;
    uint32_t *sum = (uint32_t *)acc; /* unsigned, since it may wrap */
    for (size_t first = 0; first < rows; first += MODEL_TILE) {
        for (size_t column = 0; column < columns; column += 8) {
            for (size_t row = first; row < first + MODEL_TILE; ++row, w += 4) {
                int32_t dot = 0;
                for (size_t field = 0; field < 2; ++field) {
                    for (size_t c = 0; c < 4; ++c) {
                        const int32_t code = (((w[c] >> (4 * field)) & 15) ^ 8) - 8;
                        dot += code * (x[column + 4 * field + c] - MODEL_OFFSET);
                    }
                }
                sum[row] += (uint32_t)dot;
            }
        }
    }
}
