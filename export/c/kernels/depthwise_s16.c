/* acc[c] += sum over taps t of w[t][c] * x[t][c], modulo 2^32: one filter for each channel. */
static void depthwise_s16(int32_t *acc, const int8_t *weight, const int16_t *x, size_t taps, size_t channels)
{
    uint32_t *sum = (uint32_t *)acc; /* unsigned, since it may wrap */
    for (size_t t = 0; t < taps; t++) {
        for (size_t c = 0; c < channels; c++) {
            sum[c] += (uint32_t)(weight[t * channels + c] * x[t * channels + c]);
        }
    }
}
