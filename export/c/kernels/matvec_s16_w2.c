/* acc[n] += sum over k of w[n][k] * x[k], modulo 2^32: weights of 2 bits, four a byte,
   in tiles of MODEL_TILE rows by 16 columns. rows is a multiple of MODEL_TILE, columns of 16. */
static void matvec_s16_w2(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns)
{
    const uint8_t *w = weight;
    uint32_t *sum = (uint32_t *)acc; /* unsigned, since it may wrap */
    for (size_t first = 0; first < rows; first += MODEL_TILE) {
        for (size_t column = 0; column < columns; column += 16) {
            for (size_t row = first; row < first + MODEL_TILE; ++row, w += 4) {
                int32_t dot = 0;
                for (size_t field = 0; field < 4; ++field) {
                    for (size_t c = 0; c < 4; ++c) {
                        const int32_t code = (((w[c] >> (2 * field)) & 3) ^ 2) - 2;
                        dot += code * x[column + 4 * field + c];
                    }
                }
                sum[row] += (uint32_t)dot;
            }
        }
    }
}
