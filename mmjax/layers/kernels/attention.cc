// Multi-head attention in float32 and its gradient, as XLA calls them on CPU.
//
// Arrays are row-major: queries and what is read [batch, queries, heads, width], keys and values
// [batch, keys, heads, width], mask [batch, queries or 1, keys]. The weights of one head of one
// sample, [queries, keys], stay in the cache; only the logarithm of each row's normaliser is kept
// for the gradient, which computes them again.
// Reference: Dao et al., FlashAttention (arXiv:2205.14135).

#include <cmath>
#include <limits>

#include "common.h"

namespace {

using namespace mmjax;
using Tokens = ffi::Buffer<ffi::F32, 4>;
using Rows = ffi::Buffer<ffi::F32, 3>;
using Mask = ffi::Buffer<ffi::PRED, 3>;

// exp for -87 <= x <= 0, to 2 units in the last place; for less than -87 that of -87.
Vector Exp(Vector x) {
  const Vector least = Vector{} - 87.0f;
  x = x < least ? least : x;
  // x = power * ln 2 + rest with |rest| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to an integer, which
  // then stands in the lowest bits. ln 2 is split, so that its product with power is exact.
  const Vector shift = Vector{} + 12582912.0f;
  const Vector shifted = x * 1.44269504f + shift, power = shifted - shift;
  const Vector rest = (x - power * 0.693359375f) + power * 2.12194440e-4f;
  Vector sum = rest * (1.0f / 5040) + 1.0f / 720;  // Taylor's series
  for (float coefficient : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    sum = sum * rest + coefficient;
  Integers bits = (Integers)shifted - (Integers)shift;
  return (Vector)((Integers)sum + (bits << 23));
}

// ---- Small matrix products ----

// A matrix whose neighbours in a row, and in a column, are so far apart.
struct Strided {
  const float* data;
  Index row, column;
};

// c [rows, columns] = a [rows, depth] b [depth, columns], with rows of b and c so far apart. Columns
// are a multiple of kLanes.
template <int rows, int vectors>
void ProductTile(Strided a, const float* __restrict b, Index b_row, Index depth,
                 float* __restrict c, Index c_row) {
  Vector sum[rows][vectors] = {};
  const float* from[rows];
  for (int r = 0; r < rows; ++r) from[r] = a.data + r * a.row;
  for (Index k = 0; k < depth; ++k) {
    Vector value[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) value[v] = Load(b + k * b_row + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[r][v] += from[r][k * a.column] * value[v];
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) Store(sum[r][v], c + r * c_row + v * kLanes);
}

template <int rows>
struct ProductTiles {
  static void Run(Strided a, const float* b, Index b_row, Index depth, float* c, Index c_row,
                  Index vectors) {
    auto tile = vectors == 2 ? ProductTile<rows, 2> : ProductTile<rows, 1>;
    tile(a, b, b_row, depth, c, c_row);
  }
};

void Product(Index rows, Index columns, Index depth, Strided a, const float* b, float* c) {
  for (Index first = 0; first < columns; first += kBlock)
    ForTiles(rows, [&](Index row, Index size) {
      Strided part{a.data + row * a.row, a.row, a.column};
      kTable<ProductTiles>[size - 1](part, b + first, columns, depth, c + row * columns + first,
                                     columns, columns - first > kLanes ? 2 : 1);
    });
}

// ---- One head of one sample ----

struct Shape {
  Index batch, heads, queries, keys, width, mask_rows;
  float scale;  // of the scores

  Index padded_keys() const { return RoundUp(keys); }
  Index padded_width() const { return RoundUp(width); }
  Index step() const { return heads * width; }  // from token to token
  Index query(Index b, Index h) const { return (b * queries * heads + h) * width; }
  Index key(Index b, Index h) const { return (b * keys * heads + h) * width; }
};

// The tokens of a head [tokens, width] as rows [tokens, padded_width].
void CopyHead(const Shape& s, const float* from, Index tokens, float* to) {
  CopyRows(from, s.step(), to, s.padded_width(), tokens, s.width);
}

// Rows [tokens, padded_width] back to the tokens of a head.
void CopyBack(const Shape& s, const float* from, Index tokens, float* to) {
  CopyRows(from, s.padded_width(), to, s.step(), tokens, s.width);
}

// The keys or values of a head, transposed: [width, padded_keys].
void CopyColumns(const Shape& s, const float* from, float* to) {
  for (Index w = 0; w < s.width; ++w)
    for (Index t = 0; t < s.keys; ++t) to[w * s.padded_keys() + t] = from[t * s.step() + w];
}

// Which keys a query may read: one or zero, [padded_keys].
void CopyMask(const Shape& s, const bool* mask, Index b, Index query, float* valid) {
  const bool* row = mask + (b * s.mask_rows + (s.mask_rows > 1 ? query : 0)) * s.keys;
  for (Index k = 0; k < s.keys; ++k) valid[k] = row[k];
}

// Calls visit(position) for every vector of a row of weights.
template <typename Visit>
void ForKeys(const Shape& s, Visit visit) {
  for (Index k = 0; k < s.padded_keys(); k += kLanes) visit(k);
}

// Scores to weights, in place; returns the logarithm of the normaliser. With no valid key all
// weights are zero, and the logarithm infinite.
float Softmax(const Shape& s, const float* valid, float* row) {
  const Vector lowest = Vector{} - std::numeric_limits<float>::max();
  Vector largest = lowest, total = {};
  ForKeys(s, [&](Index k) {
    const Vector score = Load(valid + k) > 0 ? Load(row + k) * s.scale : lowest;
    largest = score > largest ? score : largest;
    Store(score, row + k);
  });
  const float top = Reduce(largest, [](float a, float b) { return a > b ? a : b; });
  ForKeys(s, [&](Index k) {
    const Vector weight = Exp(Load(row + k) - top) * Load(valid + k);
    total += weight;
    Store(weight, row + k);
  });
  const float sum = Reduce(total, [](float a, float b) { return a + b; });
  if (sum == 0) return std::numeric_limits<float>::infinity();
  const float share = 1 / sum;
  ForKeys(s, [&](Index k) { Store(Load(row + k) * share, row + k); });
  return top + std::log(sum);
}

ffi::Error MakeShape(const Tokens& q, const Tokens& k, const Tokens& v, const Mask& mask, Shape& s) {
  auto from = q.dimensions(), to = k.dimensions(), may = mask.dimensions();
  const bool fits = from[0] == to[0] && from[2] == to[2] && from[3] == to[3] && to == v.dimensions();
  if (!fits || may[0] != to[0] || may[2] != to[1] || (may[1] != 1 && may[1] != from[1]))
    return ffi::Error::InvalidArgument("shapes of queries, keys, values and mask do not fit");
  const float scale = 1 / std::sqrt(static_cast<float>(from[3]));
  s = {from[0], from[2], from[1], to[1], from[3], may[1], scale};
  return ffi::Error::Success();
}

// ---- Forward ----

// What one worker needs for a head.
struct Scratch {
  explicit Scratch(const Shape& s)
      : keys_t(s.width * s.padded_keys()), values(s.keys * s.padded_width()),
        valid(s.padded_keys()), weights(s.queries * s.padded_keys()),
        read(s.queries * s.padded_width()) {}

  Floats keys_t, values, valid, weights, read;
};

ffi::Error Forward(ffi::ThreadPool pool, Tokens q, Tokens k, Tokens v, Mask mask,
                   ffi::Result<Tokens> read, ffi::Result<Rows> normaliser) try {
  Shape s;
  ffi::Error error = MakeShape(q, k, v, mask, s);
  if (error.failure()) return error;
  const float *from = q.typed_data(), *keys = k.typed_data(), *values = v.typed_data();
  const bool* may = mask.typed_data();
  float *to = read->typed_data(), *logs = normaliser->typed_data();
  const Index tasks = s.batch * s.heads, workers = NumWorkers(pool, tasks);
  std::vector<Scratch> scratch(workers, Scratch(s));
  ParallelFor(pool, tasks, workers, [&](Index task, Index worker) {
    const Index b = task / s.heads, h = task % s.heads;
    Scratch& own = scratch[worker];
    CopyColumns(s, keys + s.key(b, h), own.keys_t.data());
    CopyHead(s, values + s.key(b, h), s.keys, own.values.data());
    Product(s.queries, s.padded_keys(), s.width, {from + s.query(b, h), s.step(), 1},
            own.keys_t.data(), own.weights.data());
    for (Index i = 0; i < s.queries; ++i) {
      if (i < s.mask_rows) CopyMask(s, may, b, i, own.valid.data());
      logs[task * s.queries + i] =
          Softmax(s, own.valid.data(), own.weights.data() + i * s.padded_keys());
    }
    Product(s.queries, s.padded_width(), s.keys, {own.weights.data(), s.padded_keys(), 1},
            own.values.data(), own.read.data());
    CopyBack(s, own.read.data(), s.queries, to + s.query(b, h));
  });
  return ffi::Error::Success();
} catch (const std::bad_alloc&) {
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for attention");
}

// ---- Gradient ----

struct GradientScratch {
  explicit GradientScratch(const Shape& s)
      : keys_t(s.width * s.padded_keys()), values_t(s.width * s.padded_keys()),
        queries(s.queries * s.padded_width()), keys(s.keys * s.padded_width()),
        cotangent(s.queries * s.padded_width()), valid(s.padded_keys()),
        weights(s.queries * s.padded_keys()), scores(s.queries * s.padded_keys()),
        result(std::max(s.queries, s.keys) * s.padded_width()) {}

  Floats keys_t, values_t, queries, keys, cotangent, valid, weights, scores, result;
};

// The gradient of a row of scores, in place of that of its weights.
void SoftmaxGradient(const Shape& s, float log, float mean, const float* valid, float* weights,
                     float* gradient) {
  ForKeys(s, [&](Index k) {
    const Vector score = Load(valid + k) > 0 ? Load(weights + k) * s.scale - log : Vector{} - 87.0f;
    const Vector weight = Exp(score) * Load(valid + k);
    Store(weight, weights + k);
    Store(weight * (Load(gradient + k) - mean) * s.scale, gradient + k);
  });
}

ffi::Error Gradient(ffi::ThreadPool pool, Tokens q, Tokens k, Tokens v, Mask mask, Tokens read,
                    Rows normaliser, Tokens cotangent, ffi::Result<Tokens> dq,
                    ffi::Result<Tokens> dk, ffi::Result<Tokens> dv) try {
  Shape s;
  ffi::Error error = MakeShape(q, k, v, mask, s);
  if (error.failure()) return error;
  const bool* may = mask.typed_data();
  const float* logs = normaliser.typed_data();
  const Index tasks = s.batch * s.heads, workers = NumWorkers(pool, tasks);
  std::vector<GradientScratch> scratch(workers, GradientScratch(s));
  ParallelFor(pool, tasks, workers, [&](Index task, Index worker) {
    const Index b = task / s.heads, h = task % s.heads;
    const Index query = s.query(b, h), key = s.key(b, h), row = s.padded_keys();
    GradientScratch& own = scratch[worker];
    float *weights = own.weights.data(), *scores = own.scores.data();
    CopyColumns(s, k.typed_data() + key, own.keys_t.data());
    CopyColumns(s, v.typed_data() + key, own.values_t.data());
    CopyHead(s, q.typed_data() + query, s.queries, own.queries.data());
    CopyHead(s, k.typed_data() + key, s.keys, own.keys.data());
    CopyHead(s, cotangent.typed_data() + query, s.queries, own.cotangent.data());
    Product(s.queries, row, s.width, {own.queries.data(), s.padded_width(), 1}, own.keys_t.data(),
            weights);
    Product(s.queries, row, s.width, {own.cotangent.data(), s.padded_width(), 1},
            own.values_t.data(), scores);
    for (Index i = 0; i < s.queries; ++i) {
      if (i < s.mask_rows) CopyMask(s, may, b, i, own.valid.data());
      const float* by = own.cotangent.data() + i * s.padded_width();
      const float* was = read.typed_data() + query + i * s.step();
      float mean = 0;  // of the weights' gradients under the weights
      for (Index w = 0; w < s.width; ++w) mean += by[w] * was[w];
      SoftmaxGradient(s, logs[task * s.queries + i], mean, own.valid.data(), weights + i * row,
                      scores + i * row);
    }
    float* result = own.result.data();
    Product(s.queries, s.padded_width(), s.keys, {scores, row, 1}, own.keys.data(), result);
    CopyBack(s, result, s.queries, dq->typed_data() + query);
    Product(s.keys, s.padded_width(), s.queries, {scores, 1, row}, own.queries.data(), result);
    CopyBack(s, result, s.keys, dk->typed_data() + key);
    Product(s.keys, s.padded_width(), s.queries, {weights, 1, row}, own.cotangent.data(), result);
    CopyBack(s, result, s.keys, dv->typed_data() + key);
  });
  return ffi::Error::Success();
} catch (const std::bad_alloc&) {
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for the gradient of attention");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(mmjax_attend, Forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Tokens>()
                                  .Arg<Tokens>()
                                  .Arg<Tokens>()
                                  .Arg<Mask>()
                                  .Ret<Tokens>()
                                  .Ret<Rows>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(mmjax_attend_gradient, Gradient,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Tokens>()
                                  .Arg<Tokens>()
                                  .Arg<Tokens>()
                                  .Arg<Mask>()
                                  .Arg<Tokens>()
                                  .Arg<Rows>()
                                  .Arg<Tokens>()
                                  .Ret<Tokens>()
                                  .Ret<Tokens>()
                                  .Ret<Tokens>());
