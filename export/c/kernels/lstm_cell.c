/* needs: rounded_shift, clipped */
/* c[n] = round((i[n] g[n] + f[n] c[n]) / 2^14) in 16 bits; i and f are Q0.14. */
static void lstm_cell(int16_t *c, const int16_t *i, const int16_t *f, const int16_t *g, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        c[n] = (int16_t)clipped(rounded_shift(i[n] * g[n] + f[n] * c[n], 14), -32768, 32767);
    }
}
