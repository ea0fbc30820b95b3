// Direct convolution in float32, and the gradient of its kernel, as XLA calls them on CPU.
//
// Arrays are row-major: x [batch, height, width, channels], kernel [kernel_height, kernel_width,
// channels, features], y [batch, out_height, out_width, features]. Both passes hold a tile of
// results in registers, at most kTile scalars of one operand times two vectors of the other, while
// they walk through everything that is summed. Every result is summed in an order that follows from
// the shapes alone, so that it does not depend on the number of threads.

#include "common.h"

namespace {

using namespace mmjax;
using Array = ffi::Buffer<ffi::F32, 4>;
using Sizes = ffi::Span<const Index>;

// ---- Shapes ----

struct Shape {
  Index batch, height, width, channels, features;
  Index kernel_height, kernel_width, out_height, out_width;
  Index stride_h, stride_w, low_h, low_w, dilation_h, dilation_w;

  Index rows() const { return kernel_height * kernel_width * channels; }  // of the kernel
  Index positions() const { return out_height * out_width; }
  Index padded_height() const { return (out_height - 1) * stride_h + kernel_height; }
  Index padded_width() const { return (out_width - 1) * stride_w + kernel_width; }
  Index image_row() const { return padded_width() * channels; }  // of a padded image
  Index image_size() const { return padded_height() * image_row(); }
  Index run() const { return kernel_width * channels; }  // rows of the kernel side by side in it
  Index padded_features() const { return RoundUp(features); }
};

ffi::Error MakeShape(const Array& x, ffi::Span<const Index> kernel, const Array& y, Sizes strides,
                     Sizes padding, Sizes dilation, Shape& shape) {
  if (strides.size() != 2 || padding.size() != 4 || dilation.size() != 2)
    return ffi::Error::InvalidArgument("expected two strides, four paddings and two dilations");
  if (std::min({strides[0], strides[1], dilation[0], dilation[1]}) < 1)
    return ffi::Error::InvalidArgument("expected strides and dilations of at least 1");
  auto in = x.dimensions(), out = y.dimensions();
  if (in[0] != out[0] || in[3] != kernel[2] || out[3] != kernel[3])
    return ffi::Error::InvalidArgument("batch, channels or features of the arrays differ");
  for (size_t i = 0; i < 2; ++i) {
    Index room = (in[i + 1] - 1) * dilation[i] + 1 + padding[2 * i] + padding[2 * i + 1];
    if (room < kernel[i] || out[i + 1] != (room - kernel[i]) / strides[i] + 1)
      return ffi::Error::InvalidArgument("the output's size does not follow from the input's");
  }
  shape = {in[0],      in[1],      in[2],      in[3],      out[3],
           kernel[0],  kernel[1],  out[1],     out[2],     strides[0],
           strides[1], padding[0], padding[2], dilation[0], dilation[1]};
  return ffi::Error::Success();
}

// Whether there is nothing to sum, or nowhere to put it: then the result is zero throughout.
bool IsEmpty(const Array& a, const Array& b, Array& result) {
  if (a.element_count() > 0 && b.element_count() > 0 && result.element_count() > 0) return false;
  std::fill_n(result.typed_data(), result.element_count(), 0.0f);
  return true;
}

// Calls visit(first feature, number of vectors) for every block.
template <typename Visit>
void ForBlocks(const Shape& shape, Visit visit) {
  for (Index first = 0; first < shape.features; first += kBlock)
    visit(first, shape.features - first > kLanes ? 2 : 1);
}

// Copies an image into one with margins and, between neighbours, the gaps of dilation:
// [padded_height, padded_width, channels]. Those are zero from the start and never written.
void PadImage(const Shape& s, const float* x, float* to) {
  const Index pixels = s.dilation_w == 1 ? s.width : 1;  // that stay side by side
  for (Index h = 0; h < s.height; ++h) {
    const Index row = s.low_h + h * s.dilation_h;
    if (row < 0 || row >= s.padded_height()) continue;
    for (Index w = 0; w < s.width; w += pixels) {
      const Index column = s.low_w + w * s.dilation_w;
      const Index start = std::max<Index>(column, 0);
      const Index stop = std::min(column + pixels, s.padded_width());
      if (start < stop)
        std::memcpy(to + (row * s.padded_width() + start) * s.channels,
                    x + (h * s.width + w + start - column) * s.channels,
                    (stop - start) * s.channels * sizeof(float));
    }
  }
}

// ---- Forward ----

// [rows, features] to one matrix [rows, vectors * kLanes] per block, filled up with zeros.
void PackKernel(const Shape& s, const float* from, float* to) {
  ForBlocks(s, [&](Index first, Index vectors) {
    const Index size = std::min(vectors * kLanes, s.features - first);
    for (Index row = 0; row < s.rows(); ++row)
      std::memcpy(to + first * s.rows() + row * vectors * kLanes, from + row * s.features + first,
                  size * sizeof(float));
  });
}

// Some features of y [positions, s.features] at positions that see the image from their offsets on.
template <int positions, int vectors>
void ForwardTile(const Shape& s, const Index* offsets, const float* __restrict image,
                 const float* __restrict kernel, float* __restrict y, Index features) {
  Vector sum[positions][vectors] = {};
  for (Index i = 0; i < s.kernel_height; ++i) {
    const float* from[positions];
    for (int p = 0; p < positions; ++p) from[p] = image + offsets[p] + i * s.image_row();
    for (Index k = 0; k < s.run(); ++k) {
      Vector weight[vectors];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) weight[v] = Load(kernel + v * kLanes);
#pragma GCC unroll 16
      for (int p = 0; p < positions; ++p)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) sum[p][v] += from[p][k] * weight[v];
      kernel += vectors * kLanes;
    }
  }
  float last[positions][vectors * kLanes];  // where a vector would reach beyond the last feature
  const bool whole = features == vectors * kLanes;
#pragma GCC unroll 16
  for (int p = 0; p < positions; ++p)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v)
      Store(sum[p][v], (whole ? y + p * s.features : last[p]) + v * kLanes);
  for (int p = 0; !whole && p < positions; ++p)
    std::memcpy(y + p * s.features, last[p], features * sizeof(float));
}

template <int positions>
struct ForwardTiles {
  static void Run(const Shape& s, const Index* offsets, const float* image, const float* kernel,
                  float* y, Index vectors, Index features) {
    auto tile = vectors == 2 ? ForwardTile<positions, 2> : ForwardTile<positions, 1>;
    tile(s, offsets, image, kernel, y, features);
  }
};

void ForwardImage(const Shape& s, const std::vector<Index>& offsets, const float* image,
                  const float* kernel, float* y) {
  ForBlocks(s, [&](Index first, Index vectors) {
    const Index features = std::min(vectors * kLanes, s.features - first);
    ForTiles(s.positions(), [&](Index position, Index size) {
      kTable<ForwardTiles>[size - 1](s, offsets.data() + position, image,
                                     kernel + first * s.rows(), y + position * s.features + first,
                                     vectors, features);
    });
  });
}

ffi::Error Forward(ffi::ThreadPool pool, Array x, Array kernel, ffi::Result<Array> y, Sizes strides,
                   Sizes padding, Sizes dilation) try {
  if (IsEmpty(x, kernel, *y)) return ffi::Error::Success();
  Shape s;
  ffi::Error error = MakeShape(x, kernel.dimensions(), *y, strides, padding, dilation, s);
  if (error.failure()) return error;
  std::vector<Index> offsets;
  for (Index h = 0; h < s.out_height; ++h)
    for (Index w = 0; w < s.out_width; ++w)
      offsets.push_back(h * s.stride_h * s.image_row() + w * s.stride_w * s.channels);
  const Index workers = NumWorkers(pool, s.batch);
  Floats packed(s.rows() * s.padded_features());
  PackKernel(s, kernel.typed_data(), packed.data());
  std::vector<Floats> images(workers, Floats(s.image_size()));  // one for each worker
  const float* from = x.typed_data();
  float* to = y->typed_data();
  ParallelFor(pool, s.batch, workers, [&](Index b, Index worker) {
    float* image = images[worker].data();
    PadImage(s, from + b * s.height * s.width * s.channels, image);
    ForwardImage(s, offsets, image, packed.data(), to + b * s.positions() * s.features);
  });
  return ffi::Error::Success();
} catch (const std::bad_alloc&) {
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for a convolution");
}

// ---- Gradient of the kernel ----

// Partial sums, each of a fixed share of the batch.
constexpr Index kShards = 16;
// All partial sums together, in floats, so that a very large kernel does not fill the memory.
constexpr Index kMaxPartial = Index{1} << 25;
// A tile is written out only after about so many positions: small images are taken together.
constexpr Index kLongEnough = 256;
// Fewer neighbouring rows than this keep the arithmetic units waiting.
constexpr Index kFewRows = 6;

// Images that one worker takes together.
struct Group {
  const Shape& shape;
  Index count;
  const float* images;      // [count, padded_height, padded_width, channels]
  const float* cotangents;  // [count * positions, padded_features]
};

// Adds to gradient [rows, vectors * kLanes], for rows of the kernel that lie side by side in the
// image, which spares their addresses, or for any, each with its own offset.
template <int rows, int vectors, bool side_by_side>
void GradientTile(const Group& group, const Index* offsets, const float* __restrict cotangents,
                  float* __restrict gradient) {
  const Shape& s = group.shape;
  const Index step = s.stride_w * s.channels, cotangent_step = s.padded_features();
  Vector sum[rows][vectors] = {};
  for (Index b = 0; b < group.count; ++b) {
    for (Index h = 0; h < s.out_height; ++h) {
      const float* row = group.images + b * s.image_size() + h * s.stride_h * s.image_row();
      const float* from[rows];
      for (int r = 0; r < rows; ++r) from[r] = row + (side_by_side ? offsets[0] + r : offsets[r]);
      for (Index w = 0; w < s.out_width; ++w) {
        Vector value[vectors];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) value[v] = Load(cotangents + v * kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
          for (int v = 0; v < vectors; ++v) sum[r][v] += from[r][w * step] * value[v];
        cotangents += cotangent_step;
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      float* to = gradient + (r * vectors + v) * kLanes;
      Store(Load(to) + sum[r][v], to);
    }
}

template <int rows>
struct GradientTiles {
  static void Run(const Group& group, const Index* offsets, const float* cotangents,
                  float* gradient, Index vectors, bool side_by_side) {
    auto near = vectors == 2 ? GradientTile<rows, 2, true> : GradientTile<rows, 1, true>;
    auto far = vectors == 2 ? GradientTile<rows, 2, false> : GradientTile<rows, 1, false>;
    (side_by_side ? near : far)(group, offsets, cotangents, gradient);
  }
};

// Adds the images' share to gradient, one matrix [rows, vectors * kLanes] per block.
void GradientOfGroup(const Group& group, const std::vector<Index>& offsets, float* gradient) {
  const Shape& s = group.shape;
  const bool side_by_side = s.run() >= kFewRows;
  const Index length = side_by_side ? s.run() : s.rows();
  ForBlocks(s, [&](Index first, Index vectors) {
    for (Index start = 0; start < s.rows(); start += length)
      ForTiles(length, [&](Index row, Index size) {
        row += start;
        kTable<GradientTiles>[size - 1](group, offsets.data() + row, group.cotangents + first,
                                        gradient + first * s.rows() + row * vectors * kLanes,
                                        vectors, side_by_side);
      });
  });
}

// Sums the shards' blocks, in order, into gradient [rows, features].
void SumShards(const Shape& s, const float* partial, Index shards, Index row, float* gradient) {
  const Index shard_size = s.rows() * s.padded_features();
  ForBlocks(s, [&](Index first, Index vectors) {
    Index features = std::min(vectors * kLanes, s.features - first);
    const float* from = partial + first * s.rows() + row * vectors * kLanes;
    float sum[kBlock] = {};
    for (Index shard = 0; shard < shards; ++shard)
      for (Index f = 0; f < vectors * kLanes; ++f) sum[f] += from[shard * shard_size + f];
    std::memcpy(gradient + row * s.features + first, sum, features * sizeof(float));
  });
}

ffi::Error KernelGradient(ffi::ThreadPool pool, Array x, Array cotangent,
                          ffi::Result<Array> gradient, Sizes strides, Sizes padding) try {
  if (IsEmpty(x, cotangent, *gradient)) return ffi::Error::Success();
  const Index ones[] = {1, 1};
  Shape s;
  ffi::Error error = MakeShape(x, gradient->dimensions(), cotangent, strides, padding,
                               Sizes(ones, 2), s);
  if (error.failure()) return error;
  const Index shard_size = s.rows() * s.padded_features();
  const Index shards =
      std::max<Index>(1, std::min({s.batch, kShards, kMaxPartial / shard_size}));
  const Index most = (s.batch + shards - 1) / shards;
  const Index together = std::min(most, std::max<Index>(1, kLongEnough / s.positions()));
  std::vector<Index> offsets;
  for (Index i = 0; i < s.kernel_height; ++i)
    for (Index k = 0; k < s.run(); ++k) offsets.push_back(i * s.image_row() + k);

  const float *from = x.typed_data(), *by = cotangent.typed_data();
  const Index workers = NumWorkers(pool, shards);
  // Rows of whole vectors are taken from where they are.
  const bool whole = s.features == s.padded_features();
  const Index cotangent_size = whole ? 0 : s.positions() * s.padded_features();
  Floats partial(shards * shard_size);
  std::vector<Floats> images(workers, Floats(together * s.image_size()));
  std::vector<Floats> padded(workers, Floats(together * cotangent_size));
  ParallelFor(pool, shards, workers, [&](Index shard, Index worker) {
    const Index stop = s.batch * (shard + 1) / shards;
    for (Index b = s.batch * shard / shards; b < stop; b += together) {
      const float* cotangents = by + b * s.positions() * s.features;
      Group group{s, std::min(together, stop - b), images[worker].data(),
                  whole ? cotangents : padded[worker].data()};
      for (Index n = 0; n < group.count; ++n)
        PadImage(s, from + (b + n) * s.height * s.width * s.channels,
                 images[worker].data() + n * s.image_size());
      for (Index n = 0; !whole && n < group.count * s.positions(); ++n)
        std::memcpy(padded[worker].data() + n * s.padded_features(), cotangents + n * s.features,
                    s.features * sizeof(float));
      GradientOfGroup(group, offsets, partial.data() + shard * shard_size);
    }
  });
  float* to = gradient->typed_data();
  const Index parts = std::min<Index>(s.rows(), 4 * workers);
  ParallelFor(pool, parts, workers, [&](Index part, Index) {
    for (Index row = s.rows() * part / parts; row < s.rows() * (part + 1) / parts; ++row)
      SumShards(s, partial.data(), shards, row, to);
  });
  return ffi::Error::Success();
} catch (const std::bad_alloc&) {
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for a kernel's gradient");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(mmjax_convolve, Forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Ret<Array>()
                                  .Attr<Sizes>("strides")
                                  .Attr<Sizes>("padding")
                                  .Attr<Sizes>("dilation"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(mmjax_kernel_gradient, KernelGradient,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Ret<Array>()
                                  .Attr<Sizes>("strides")
                                  .Attr<Sizes>("padding"));
