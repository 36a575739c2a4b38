/* acc[g][n] += sum over k of w[g][n][k] * x[g][k], modulo 2^32: each group of outputs has columns of its own.
   The columns of group g start at x + g * part. */
static void grouped_s16(int32_t *acc, const int8_t *weight, const int16_t *x, size_t part, size_t groups, size_t outputs,
                       size_t columns)
{
    uint32_t *sum = (uint32_t *)acc; /* unsigned, since it may wrap */
    for (size_t g = 0; g < groups; g++) {
        for (size_t n = 0; n < outputs; n++, weight += columns) {
            uint32_t dot = 0;
            for (size_t k = 0; k < columns; k++) {
                dot += (uint32_t)(weight[k] * x[g * part + k]);
            }
            sum[g * outputs + n] += dot;
        }
    }
}
