/* needs: floor_shift_s32 */
/* a b / 2^15 for numbers of 16 bits, ties up; only -1 * -1 saturates. */
static int32_t fixed_product(int32_t a, int32_t b)
{
    const int32_t product = floor_shift_s32(a * b + 16384, 15);
    return product > 32767 ? 32767 : product;
}
