/* y[n] = table[index[n]]. */
static void look_up_s32(int32_t *y, const int16_t *index, const int32_t *table, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        y[n] = table[index[n]];
    }
}
