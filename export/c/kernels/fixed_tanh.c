/* needs: fixed_exp, fixed_reciprocal, clipped */
/* y[n] = tanh(x[n]) in Q0.15 of numbers with integer_bits and a sign; y may be x. */
static void fixed_tanh(int16_t *y, const int16_t *x, size_t count, unsigned integer_bits)
{
    for (size_t n = 0; n < count; n++) {
        const int32_t value = x[n];
        /* exp(-2 |x|): the same integers are twice as much with one integer bit more. */
        const int32_t ratio = fixed_exp(value < 0 ? -value : value, integer_bits + 1);
        const int32_t of_size = clipped((fixed_reciprocal(ratio) - 8192) * 4, -32768, 32767);
        y[n] = (int16_t)(value > 0 ? of_size : value < 0 ? -of_size : 0);
    }
}
