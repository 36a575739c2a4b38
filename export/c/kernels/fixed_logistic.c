/* needs: fixed_exp, fixed_reciprocal, clipped */
/* y[n] = 1 / (1 + exp(-y[n])) in Q0.15 of numbers with 12 fractional bits. */
static void fixed_logistic(int16_t *y, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        const int32_t x = y[n];
        const int32_t of_size = clipped(fixed_reciprocal(fixed_exp(x < 0 ? -x : x, 3)) * 2, 0, 32767);
        y[n] = (int16_t)(x > 0 ? of_size : x < 0 ? 32767 - of_size : 16384);
    }
}
