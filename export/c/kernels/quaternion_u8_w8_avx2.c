#include <immintrin.h>
/* vpmaddwd of bytes widened to 16 bits in their places, even columns and odd ones; eight rows at a time. Each
   component of the weights is read once and meets the four parts of x. */
static void quaternion_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns,
                             size_t part)
{
    const __m256i byte = _mm256_set1_epi16(0xff);
    const size_t tile = 4 * MODEL_TILE * columns;
    for (size_t row = 0; row < rows; row += 8) {
        const uint8_t *w = weight + row / MODEL_TILE * tile + row % MODEL_TILE * 4;
        __m256i yr = _mm256_setzero_si256(), yi = yr, yj = yr, yk = yr;
        for (size_t column = 0; column < columns; column += 4, w += 256) {
            int32_t words[4];
            memcpy(words, x + column, sizeof *words);
            memcpy(words + 1, x + part + column, sizeof *words);
            memcpy(words + 2, x + 2 * part + column, sizeof *words);
            memcpy(words + 3, x + 3 * part + column, sizeof *words);
            const __m256i r = _mm256_loadu_si256((const __m256i *)w);
            const __m256i i = _mm256_loadu_si256((const __m256i *)(w + 64));
            const __m256i j = _mm256_loadu_si256((const __m256i *)(w + 128));
            const __m256i k = _mm256_loadu_si256((const __m256i *)(w + 192));
            const __m256i xr = _mm256_set1_epi32(words[0]);
            const __m256i even_r = _mm256_and_si256(xr, byte), odd_r = _mm256_srli_epi16(xr, 8);
            const __m256i xi = _mm256_set1_epi32(words[1]);
            const __m256i even_i = _mm256_and_si256(xi, byte), odd_i = _mm256_srli_epi16(xi, 8);
            const __m256i xj = _mm256_set1_epi32(words[2]);
            const __m256i even_j = _mm256_and_si256(xj, byte), odd_j = _mm256_srli_epi16(xj, 8);
            const __m256i xk = _mm256_set1_epi32(words[3]);
            const __m256i even_k = _mm256_and_si256(xk, byte), odd_k = _mm256_srli_epi16(xk, 8);
            const __m256i r_even = _mm256_srai_epi16(_mm256_slli_epi16(r, 8), 8), r_odd = _mm256_srai_epi16(r, 8);
            yr = _mm256_add_epi32(yr, _mm256_madd_epi16(r_even, even_r));
            yr = _mm256_add_epi32(yr, _mm256_madd_epi16(r_odd, odd_r));
            yi = _mm256_add_epi32(yi, _mm256_madd_epi16(r_even, even_i));
            yi = _mm256_add_epi32(yi, _mm256_madd_epi16(r_odd, odd_i));
            yj = _mm256_add_epi32(yj, _mm256_madd_epi16(r_even, even_j));
            yj = _mm256_add_epi32(yj, _mm256_madd_epi16(r_odd, odd_j));
            yk = _mm256_add_epi32(yk, _mm256_madd_epi16(r_even, even_k));
            yk = _mm256_add_epi32(yk, _mm256_madd_epi16(r_odd, odd_k));
            const __m256i i_even = _mm256_srai_epi16(_mm256_slli_epi16(i, 8), 8), i_odd = _mm256_srai_epi16(i, 8);
            yi = _mm256_add_epi32(yi, _mm256_madd_epi16(i_even, even_r));
            yi = _mm256_add_epi32(yi, _mm256_madd_epi16(i_odd, odd_r));
            yr = _mm256_sub_epi32(yr, _mm256_madd_epi16(i_even, even_i));
            yr = _mm256_sub_epi32(yr, _mm256_madd_epi16(i_odd, odd_i));
            yk = _mm256_add_epi32(yk, _mm256_madd_epi16(i_even, even_j));
            yk = _mm256_add_epi32(yk, _mm256_madd_epi16(i_odd, odd_j));
            yj = _mm256_sub_epi32(yj, _mm256_madd_epi16(i_even, even_k));
            yj = _mm256_sub_epi32(yj, _mm256_madd_epi16(i_odd, odd_k));
            const __m256i j_even = _mm256_srai_epi16(_mm256_slli_epi16(j, 8), 8), j_odd = _mm256_srai_epi16(j, 8);
            yj = _mm256_add_epi32(yj, _mm256_madd_epi16(j_even, even_r));
            yj = _mm256_add_epi32(yj, _mm256_madd_epi16(j_odd, odd_r));
            yk = _mm256_sub_epi32(yk, _mm256_madd_epi16(j_even, even_i));
            yk = _mm256_sub_epi32(yk, _mm256_madd_epi16(j_odd, odd_i));
            yr = _mm256_sub_epi32(yr, _mm256_madd_epi16(j_even, even_j));
            yr = _mm256_sub_epi32(yr, _mm256_madd_epi16(j_odd, odd_j));
            yi = _mm256_add_epi32(yi, _mm256_madd_epi16(j_even, even_k));
            yi = _mm256_add_epi32(yi, _mm256_madd_epi16(j_odd, odd_k));
            const __m256i k_even = _mm256_srai_epi16(_mm256_slli_epi16(k, 8), 8), k_odd = _mm256_srai_epi16(k, 8);
            yk = _mm256_add_epi32(yk, _mm256_madd_epi16(k_even, even_r));
            yk = _mm256_add_epi32(yk, _mm256_madd_epi16(k_odd, odd_r));
            yj = _mm256_add_epi32(yj, _mm256_madd_epi16(k_even, even_i));
            yj = _mm256_add_epi32(yj, _mm256_madd_epi16(k_odd, odd_i));
            yi = _mm256_sub_epi32(yi, _mm256_madd_epi16(k_even, even_j));
            yi = _mm256_sub_epi32(yi, _mm256_madd_epi16(k_odd, odd_j));
            yr = _mm256_sub_epi32(yr, _mm256_madd_epi16(k_even, even_k));
            yr = _mm256_sub_epi32(yr, _mm256_madd_epi16(k_odd, odd_k));
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
