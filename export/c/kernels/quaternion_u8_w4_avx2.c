#include <immintrin.h>
/* vpmaddwd of codes and entries widened to 16 bits in their places, even columns and odd ones; eight rows at a time.
   Each component of the weights is read once and meets the four parts of x. */
static void quaternion_u8_w4(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns,
                             size_t part)
{
    const __m256i byte = _mm256_set1_epi16(0xff);
    const __m256i flip = _mm256_set1_epi16(8), field = _mm256_set1_epi16(0x0f);
    const size_t tile = 4 * MODEL_TILE * columns / 2;
    for (size_t row = 0; row < rows; row += 8) {
        const uint8_t *w = weight + row / MODEL_TILE * tile + row % MODEL_TILE * 4;
        __m256i yr = _mm256_setzero_si256(), yi = yr, yj = yr, yk = yr;
        for (size_t column = 0; column < columns; column += 8, w += 256) {
            int32_t words[8];
            memcpy(words, x + column, 2 * sizeof *words);
            memcpy(words + 2, x + part + column, 2 * sizeof *words);
            memcpy(words + 4, x + 2 * part + column, 2 * sizeof *words);
            memcpy(words + 6, x + 3 * part + column, 2 * sizeof *words);
            __m256i r = _mm256_loadu_si256((const __m256i *)w);
            __m256i i = _mm256_loadu_si256((const __m256i *)(w + 64));
            __m256i j = _mm256_loadu_si256((const __m256i *)(w + 128));
            __m256i k = _mm256_loadu_si256((const __m256i *)(w + 192));
            for (size_t place = 0; place < 2; ++place) {
                const __m256i xr = _mm256_set1_epi32(words[place]);
                const __m256i even_r = _mm256_and_si256(xr, byte), odd_r = _mm256_srli_epi16(xr, 8);
                const __m256i xi = _mm256_set1_epi32(words[2 + place]);
                const __m256i even_i = _mm256_and_si256(xi, byte), odd_i = _mm256_srli_epi16(xi, 8);
                const __m256i xj = _mm256_set1_epi32(words[4 + place]);
                const __m256i even_j = _mm256_and_si256(xj, byte), odd_j = _mm256_srli_epi16(xj, 8);
                const __m256i xk = _mm256_set1_epi32(words[6 + place]);
                const __m256i even_k = _mm256_and_si256(xk, byte), odd_k = _mm256_srli_epi16(xk, 8);
                __m256i r_even = _mm256_and_si256(r, field), r_odd = _mm256_and_si256(_mm256_srli_epi16(r, 8), field);
                r_even = _mm256_sub_epi16(_mm256_xor_si256(r_even, flip), flip);
                r_odd = _mm256_sub_epi16(_mm256_xor_si256(r_odd, flip), flip);
                r = _mm256_srli_epi16(r, 4);
                yr = _mm256_add_epi32(yr, _mm256_madd_epi16(r_even, even_r));
                yr = _mm256_add_epi32(yr, _mm256_madd_epi16(r_odd, odd_r));
                yi = _mm256_add_epi32(yi, _mm256_madd_epi16(r_even, even_i));
                yi = _mm256_add_epi32(yi, _mm256_madd_epi16(r_odd, odd_i));
                yj = _mm256_add_epi32(yj, _mm256_madd_epi16(r_even, even_j));
                yj = _mm256_add_epi32(yj, _mm256_madd_epi16(r_odd, odd_j));
                yk = _mm256_add_epi32(yk, _mm256_madd_epi16(r_even, even_k));
                yk = _mm256_add_epi32(yk, _mm256_madd_epi16(r_odd, odd_k));
                __m256i i_even = _mm256_and_si256(i, field), i_odd = _mm256_and_si256(_mm256_srli_epi16(i, 8), field);
                i_even = _mm256_sub_epi16(_mm256_xor_si256(i_even, flip), flip);
                i_odd = _mm256_sub_epi16(_mm256_xor_si256(i_odd, flip), flip);
                i = _mm256_srli_epi16(i, 4);
                yi = _mm256_add_epi32(yi, _mm256_madd_epi16(i_even, even_r));
                yi = _mm256_add_epi32(yi, _mm256_madd_epi16(i_odd, odd_r));
                yr = _mm256_sub_epi32(yr, _mm256_madd_epi16(i_even, even_i));
                yr = _mm256_sub_epi32(yr, _mm256_madd_epi16(i_odd, odd_i));
                yk = _mm256_add_epi32(yk, _mm256_madd_epi16(i_even, even_j));
                yk = _mm256_add_epi32(yk, _mm256_madd_epi16(i_odd, odd_j));
                yj = _mm256_sub_epi32(yj, _mm256_madd_epi16(i_even, even_k));
                yj = _mm256_sub_epi32(yj, _mm256_madd_epi16(i_odd, odd_k));
                __m256i j_even = _mm256_and_si256(j, field), j_odd = _mm256_and_si256(_mm256_srli_epi16(j, 8), field);
                j_even = _mm256_sub_epi16(_mm256_xor_si256(j_even, flip), flip);
                j_odd = _mm256_sub_epi16(_mm256_xor_si256(j_odd, flip), flip);
                j = _mm256_srli_epi16(j, 4);
                yj = _mm256_add_epi32(yj, _mm256_madd_epi16(j_even, even_r));
                yj = _mm256_add_epi32(yj, _mm256_madd_epi16(j_odd, odd_r));
                yk = _mm256_sub_epi32(yk, _mm256_madd_epi16(j_even, even_i));
                yk = _mm256_sub_epi32(yk, _mm256_madd_epi16(j_odd, odd_i));
                yr = _mm256_sub_epi32(yr, _mm256_madd_epi16(j_even, even_j));
                yr = _mm256_sub_epi32(yr, _mm256_madd_epi16(j_odd, odd_j));
                yi = _mm256_add_epi32(yi, _mm256_madd_epi16(j_even, even_k));
                yi = _mm256_add_epi32(yi, _mm256_madd_epi16(j_odd, odd_k));
                __m256i k_even = _mm256_and_si256(k, field), k_odd = _mm256_and_si256(_mm256_srli_epi16(k, 8), field);
                k_even = _mm256_sub_epi16(_mm256_xor_si256(k_even, flip), flip);
                k_odd = _mm256_sub_epi16(_mm256_xor_si256(k_odd, flip), flip);
                k = _mm256_srli_epi16(k, 4);
                yk = _mm256_add_epi32(yk, _mm256_madd_epi16(k_even, even_r));
                yk = _mm256_add_epi32(yk, _mm256_madd_epi16(k_odd, odd_r));
                yj = _mm256_add_epi32(yj, _mm256_madd_epi16(k_even, even_i));
                yj = _mm256_add_epi32(yj, _mm256_madd_epi16(k_odd, odd_i));
                yi = _mm256_sub_epi32(yi, _mm256_madd_epi16(k_even, even_j));
                yi = _mm256_sub_epi32(yi, _mm256_madd_epi16(k_odd, odd_j));
                yr = _mm256_sub_epi32(yr, _mm256_madd_epi16(k_even, even_k));
                yr = _mm256_sub_epi32(yr, _mm256_madd_epi16(k_odd, odd_k));
            }
        }
        int32_t *y = acc + row;
        _mm256_storeu_si256((__m256i *)y, _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)y), yr));
        _mm256_storeu_si256((__m256i *)(y + rows),
                            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + rows)), yi));
        _mm256_storeu_si256((__m256i *)(y + 2 * rows),
                            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 2 * rows)), yj));
        _mm256_storeu_si256((__m256i *)(y + 3 * rows),
                            _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(y + 3 * rows)), yk));
    }
}
