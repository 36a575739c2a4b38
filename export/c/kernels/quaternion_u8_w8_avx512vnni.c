#include <immintrin.h>
/* vpdpbusd: each component of the weights is read once and meets the four parts of x. It only adds: the sixteen
   products have sums of their own (component, part), and signs come in at the end. */
static void quaternion_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns,
                             size_t part)
{
    const uint8_t *w = weight;
    for (size_t row = 0; row < rows; row += MODEL_TILE) {
        __m512i rr = _mm512_setzero_si512(), ri = rr, rj = rr, rk = rr;
        __m512i ir = rr, ii = rr, ij = rr, ik = rr;
        __m512i jr = rr, ji = rr, jj = rr, jk = rr;
        __m512i kr = rr, ki = rr, kj = rr, kk = rr;
        for (size_t column = 0; column < columns; column += 4, w += 256) {
            int32_t words[4];
            memcpy(words, x + column, sizeof *words);
            memcpy(words + 1, x + part + column, sizeof *words);
            memcpy(words + 2, x + 2 * part + column, sizeof *words);
            memcpy(words + 3, x + 3 * part + column, sizeof *words);
            const __m512i xr = _mm512_set1_epi32(words[0]);
            const __m512i xi = _mm512_set1_epi32(words[1]);
            const __m512i xj = _mm512_set1_epi32(words[2]);
            const __m512i xk = _mm512_set1_epi32(words[3]);
            const __m512i r = _mm512_loadu_si512(w);
            rr = _mm512_dpbusd_epi32(rr, xr, r);
            ri = _mm512_dpbusd_epi32(ri, xi, r);
            rj = _mm512_dpbusd_epi32(rj, xj, r);
            rk = _mm512_dpbusd_epi32(rk, xk, r);
            const __m512i i = _mm512_loadu_si512(w + 64);
            ir = _mm512_dpbusd_epi32(ir, xr, i);
            ii = _mm512_dpbusd_epi32(ii, xi, i);
            ij = _mm512_dpbusd_epi32(ij, xj, i);
            ik = _mm512_dpbusd_epi32(ik, xk, i);
            const __m512i j = _mm512_loadu_si512(w + 128);
            jr = _mm512_dpbusd_epi32(jr, xr, j);
            ji = _mm512_dpbusd_epi32(ji, xi, j);
            jj = _mm512_dpbusd_epi32(jj, xj, j);
            jk = _mm512_dpbusd_epi32(jk, xk, j);
            const __m512i k = _mm512_loadu_si512(w + 192);
            kr = _mm512_dpbusd_epi32(kr, xr, k);
            ki = _mm512_dpbusd_epi32(ki, xi, k);
            kj = _mm512_dpbusd_epi32(kj, xj, k);
            kk = _mm512_dpbusd_epi32(kk, xk, k);
        }
        int32_t *y = acc + row;
        const __m512i yr = _mm512_sub_epi32(rr, _mm512_add_epi32(_mm512_add_epi32(ii, jj), kk));
        const __m512i yi = _mm512_sub_epi32(_mm512_add_epi32(_mm512_add_epi32(ri, ir), jk), kj);
        const __m512i yj = _mm512_sub_epi32(_mm512_add_epi32(_mm512_add_epi32(rj, jr), ki), ik);
        const __m512i yk = _mm512_sub_epi32(_mm512_add_epi32(_mm512_add_epi32(rk, ij), kr), ji);
        _mm512_storeu_si512(y, _mm512_add_epi32(_mm512_loadu_si512(y), yr));
        _mm512_storeu_si512(y + rows, _mm512_add_epi32(_mm512_loadu_si512(y + rows), yi));
        _mm512_storeu_si512(y + 2 * rows, _mm512_add_epi32(_mm512_loadu_si512(y + 2 * rows), yj));
        _mm512_storeu_si512(y + 3 * rows, _mm512_add_epi32(_mm512_loadu_si512(y + 3 * rows), yk));
    }
}
