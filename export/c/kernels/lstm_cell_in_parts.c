/* needs: half_away, clipped */
/* c[n] = f[n] c[n] / 2^15 + i[n] g[n] / 2^shift in 16 bits, each rounded, ties away from zero; all gates are Q0.15. */
static void lstm_cell_in_parts(int16_t *c, const int16_t *i, const int16_t *f, const int16_t *g, size_t count,
                               unsigned shift)
{
    for (size_t n = 0; n < count; n++) {
        const int32_t kept = (int32_t)half_away(f[n] * c[n], 15);
        c[n] = (int16_t)clipped(kept + (int32_t)half_away(i[n] * g[n], shift), -32768, 32767);
    }
}
