// Layer normalisation in float32 and its gradient, as XLA calls them on CPU: one pass each.
//
// Arrays are row-major: x, y and their gradients [rows, width], scale and bias [width], mean and
// inverse, the reciprocal of the standard deviation, [rows].
// Reference: Ba et al., Layer Normalization (arXiv:1607.06450).

#include <cmath>

#include "common.h"

namespace {

using namespace mmjax;
using Matrix = ffi::Buffer<ffi::F32, 2>;
using Row = ffi::Buffer<ffi::F32, 1>;

// Partial sums, each of a fixed share of the rows: their order must not depend on the threads.
constexpr Index kShards = 32;

float Sum(Vector x) {
  return Reduce(x, [](float a, float b) { return a + b; });
}

// Calls visit(position, count) for each vector of a row; the last may be short.
template <typename Visit>
void ForVectors(Index width, Visit visit) {
  for (Index k = 0; k < width; k += kLanes) visit(k, std::min<Index>(kLanes, width - k));
}

// Some entries, then zeros.
Vector LoadFirst(const float* from, Index count) {
  if (count == kLanes) return Load(from);
  Vector value = {};
  std::memcpy(&value, from, count * sizeof(float));
  return value;
}

void StoreFirst(Vector value, float* to, Index count) {
  std::memcpy(to, &value, count * sizeof(float));
}

// Calls visit(shard, first row, last row + 1) for every shard, in parallel.
template <typename Visit>
void ForShards(ffi::ThreadPool& pool, Index rows, Visit visit) {
  ParallelFor(pool, kShards, NumWorkers(pool, kShards), [&](Index shard, Index) {
    visit(shard, rows * shard / kShards, rows * (shard + 1) / kShards);
  });
}

ffi::Error Forward(ffi::ThreadPool pool, Matrix x, Row scale, Row bias, ffi::Result<Matrix> y,
                   ffi::Result<Row> mean, ffi::Result<Row> inverse, float epsilon) {
  const Index rows = x.dimensions()[0], width = x.dimensions()[1];
  const float *by = scale.typed_data(), *plus = bias.typed_data();
  ForShards(pool, rows, [&](Index, Index first, Index stop) {
    for (Index row = first; row < stop; ++row) {
      const float* from = x.typed_data() + row * width;
      float* to = y->typed_data() + row * width;
      Vector total = {}, squares = {};
      ForVectors(width, [&](Index k, Index count) {
        const Vector value = LoadFirst(from + k, count);
        total += value;
        squares += value * value;
      });
      const float middle = Sum(total) / width;
      const float variance = std::max(Sum(squares) / width - middle * middle, 0.0f);
      const float factor = 1 / std::sqrt(variance + epsilon);
      ForVectors(width, [&](Index k, Index count) {
        const Vector normed = (LoadFirst(from + k, count) - middle) * factor;
        StoreFirst(normed * LoadFirst(by + k, count) + LoadFirst(plus + k, count), to + k, count);
      });
      mean->typed_data()[row] = middle;
      inverse->typed_data()[row] = factor;
    }
  });
  return ffi::Error::Success();
}

// Adds one row to the gradients of scale and bias, and makes the row's own.
void GradientOfRow(Index width, float mean, float inverse, const float* x, const float* scale,
                   const float* cotangent, float* dx, float* dscale, float* dbias) {
  Vector total = {}, along = {};
  ForVectors(width, [&](Index k, Index count) {
    const Vector given = LoadFirst(cotangent + k, count);
    const Vector normed = (LoadFirst(x + k, count) - mean) * inverse;
    const Vector scaled = given * LoadFirst(scale + k, count);
    total += scaled;
    along += scaled * normed;
    StoreFirst(LoadFirst(dscale + k, count) + given * normed, dscale + k, count);
    StoreFirst(LoadFirst(dbias + k, count) + given, dbias + k, count);
  });
  const float middle = Sum(total) / width, share = Sum(along) / width;
  ForVectors(width, [&](Index k, Index count) {
    const Vector normed = (LoadFirst(x + k, count) - mean) * inverse;
    const Vector scaled = LoadFirst(cotangent + k, count) * LoadFirst(scale + k, count);
    StoreFirst((scaled - middle - normed * share) * inverse, dx + k, count);
  });
}

ffi::Error Gradient(ffi::ThreadPool pool, Matrix x, Row scale, Row mean, Row inverse,
                    Matrix cotangent, ffi::Result<Matrix> dx, ffi::Result<Row> dscale,
                    ffi::Result<Row> dbias) try {
  const Index rows = x.dimensions()[0], width = x.dimensions()[1], padded = RoundUp(width);
  Floats partial(2 * kShards * padded);
  ForShards(pool, rows, [&](Index shard, Index first, Index stop) {
    float* own = partial.data() + 2 * shard * padded;
    for (Index row = first; row < stop; ++row)
      GradientOfRow(width, mean.typed_data()[row], inverse.typed_data()[row],
                    x.typed_data() + row * width, scale.typed_data(),
                    cotangent.typed_data() + row * width, dx->typed_data() + row * width, own,
                    own + padded);
  });
  for (Index k = 0; k < width; ++k) {
    float by_scale = 0, by_bias = 0;
    for (Index shard = 0; shard < kShards; ++shard) {
      by_scale += partial.data()[2 * shard * padded + k];
      by_bias += partial.data()[(2 * shard + 1) * padded + k];
    }
    dscale->typed_data()[k] = by_scale;
    dbias->typed_data()[k] = by_bias;
  }
  return ffi::Error::Success();
} catch (const std::bad_alloc&) {
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for layer normalisation");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(mmjax_layer_norm, Forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Matrix>()
                                  .Arg<Row>()
                                  .Arg<Row>()
                                  .Ret<Matrix>()
                                  .Ret<Row>()
                                  .Ret<Row>()
                                  .Attr<float>("epsilon"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(mmjax_layer_norm_gradient, Gradient,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Matrix>()
                                  .Arg<Row>()
                                  .Arg<Row>()
                                  .Arg<Row>()
                                  .Arg<Matrix>()
                                  .Ret<Matrix>()
                                  .Ret<Row>()
                                  .Ret<Row>());
