// Batch norm with the members of its fusion group, for which there are generated kernels: what these stand on, and
// what is launched around them. Kernels and sums are cu_batch_norm.cuh's.
#ifndef STAGECC_CU_NORM_GROUP_H
#define STAGECC_CU_NORM_GROUP_H

#include <stagecc/cu_batch_norm.cuh>
#include <stagecc/cu_stage.cuh>

// What a norm applies to N neighbouring channels. c_norm_at and so on are called as by the c backend.
template <int N> struct cu_look {
    cu_norm norm[N];

    CU_MEMBER explicit cu_look(const cu_norm *of)
    {
        CU_UNROLL
        for (int i = 0; i < N; i++)
            norm[i] = of[i];
    }
};

template <int N> struct cu_look_back : cu_look<N> {
    cu_norm_grad grad[N];

    CU_MEMBER cu_look_back(const cu_norm *of, const cu_norm_grad *grad_of) : cu_look<N>(of)
    {
        CU_UNROLL
        for (int i = 0; i < N; i++)
            grad[i] = grad_of[i];
    }
};

template <int N> CU_INLINE float c_norm_at(const cu_look<N> *k, int channel, float x)
{
    return cu_norm_at(k->norm[channel], x);
}

template <int N> CU_INLINE float c_norm_again(const cu_look<N> *k, int channel, float x)
{
    return cu_norm_at(k->norm[channel], x);
}

template <int N>
CU_INLINE float c_norm_grad_at(const cu_look_back<N> *k, int channel, float dy, float x)
{
    const cu_norm &norm = k->norm[channel];
    const cu_norm_grad &grad = k->grad[channel];
    return ((dy - grad.offset) - (x - norm.mean) * grad.slope) * norm.scale;
}

// On the host
// ----------------------------------------------------------------------------------------------

// Memory for the time being, of a norm over x[pixels,C] of type T.
template <typename T, int C> struct cu_norm_room {
    double *part;
    double *sums; // [2][C], of replicas that share statistics
    cu_norm *norm;
    cu_norm_grad *grad;
    float *mean, *var;

    CU_BOTH int64_t bytes(int64_t pixels)
    {
        return cu_columns<T, C>::part_bytes(pixels) +
               C * (int64_t)(2 * sizeof *sums + sizeof *norm + sizeof *grad + sizeof *mean +
                             sizeof *var);
    }
    CU_BOTH int64_t blocks(int64_t pixels) // of a look
    {
        return cu_columns<T, C>::blocks(pixels);
    }
    cu_norm_room(rt_stage *s, int64_t pixels)
    {
        part = (double *)rt_cuda_room(s);
        sums = part + cu_columns<T, C>::part_bytes(pixels) / (int64_t)sizeof *part;
        norm = (cu_norm *)(void *)(sums + 2 * C);
        grad = (cu_norm_grad *)(void *)(norm + C);
        mean = (float *)(void *)(grad + C);
        var = mean + C;
    }
};

// What forward applies; mean[C] and var[C] may be NULL. sums: those of x and its squares, [2,C]; NULL: they are taken
// here.
template <typename T, int C>
static void cu_norm_statistics(cudaStream_t stream, const cu_norm_room<T, C> &room, float *mean,
                               float *var, const T *x, const float *sums, const float *gamma,
                               const float *beta, int64_t pixels, double eps)
{
    typedef cu_columns<T, C> shares;
    if (sums) {
        CU_LAUNCH((cu_batch_norm_take<float>), cu_ceil(C, CU_COLUMN_THREADS), CU_COLUMN_THREADS,
                  stream, C, room.norm, mean ? mean : room.mean, var ? var : room.var, sums,
                  pixels, gamma, beta, eps);
        return;
    }
    CU_LAUNCH((cu_batch_norm_parts<T, C>), shares::blocks(pixels), CU_COLUMN_THREADS, stream,
              room.part, x, pixels);
    CU_LAUNCH((cu_batch_norm_ready<T>), cu_total_blocks(C), CU_TOTAL_THREADS, stream, C,
              room.norm, mean ? mean : room.mean, var ? var : room.var, room.part,
              shares::parts(pixels), x, pixels, gamma, beta, eps);
}

// The same of statistics that replicas share, of `all` pixels; between its two halves the sums of all are added up.
template <typename T, int C>
static void cu_norm_give(cudaStream_t stream, const cu_norm_room<T, C> &room, const T *x,
                         int64_t pixels)
{
    typedef cu_columns<T, C> shares;
    CU_LAUNCH((cu_batch_norm_parts<T, C>), shares::blocks(pixels), CU_COLUMN_THREADS, stream,
              room.part, x, pixels);
    CU_LAUNCH((cu_batch_norm_give<T>), cu_total_blocks(C), CU_TOTAL_THREADS, stream, C,
              room.sums, room.part, shares::parts(pixels), x, pixels);
}

template <typename T, int C>
static void cu_norm_take(cudaStream_t stream, const cu_norm_room<T, C> &room, float *mean,
                         float *var, const float *gamma, const float *beta, int64_t all,
                         double eps)
{
    CU_LAUNCH((cu_batch_norm_take<double>), cu_ceil(C, CU_COLUMN_THREADS), CU_COLUMN_THREADS,
              stream, C, room.norm, mean ? mean : room.mean, var ? var : room.var, room.sums,
              all, gamma, beta, eps);
}

// The same of statistics that are there. beta: NULL where nobody asks for forward's result again.
template <typename T, int C>
static void cu_norm_fixed(cudaStream_t stream, const cu_norm_room<T, C> &room,
                          const float *mean, const float *var, const float *gamma,
                          const float *beta, double eps)
{
    CU_LAUNCH(cu_batch_norm_fixed, cu_ceil(C, CU_COLUMN_THREADS), CU_COLUMN_THREADS, stream, C,
              room.norm, mean, var, gamma, beta ? beta : gamma, eps);
}

// What backward applies, from the parts; dgamma[C] and dbeta[C] may be NULL.
template <typename T, int C>
static void cu_norm_gradients(cudaStream_t stream, const cu_norm_room<T, C> &room,
                              float *dgamma, float *dbeta, const float *var, int64_t pixels,
                              double eps)
{
    CU_LAUNCH(cu_batch_norm_grad_ready, cu_total_blocks(C), CU_TOTAL_THREADS, stream, C,
              room.grad, dgamma, dbeta, room.part, cu_columns<T, C>::parts(pixels), pixels, var,
              eps);
}

// In two halves, of replicas that share statistics.
template <typename T, int C>
static void cu_norm_grad_give(cudaStream_t stream, const cu_norm_room<T, C> &room,
                              float *dgamma, float *dbeta, const float *var, int64_t pixels,
                              double eps)
{
    CU_LAUNCH(cu_batch_norm_grad_give, cu_total_blocks(C), CU_TOTAL_THREADS, stream, C,
              room.sums, dgamma, dbeta, room.part, cu_columns<T, C>::parts(pixels), var, eps);
}

template <typename T, int C>
static void cu_norm_grad_take(cudaStream_t stream, const cu_norm_room<T, C> &room,
                              const float *var, int64_t all, double eps)
{
    CU_LAUNCH(cu_batch_norm_grad_take, cu_ceil(C, CU_COLUMN_THREADS), CU_COLUMN_THREADS, stream,
              C, room.grad, room.sums, all, var, eps);
}

#endif
