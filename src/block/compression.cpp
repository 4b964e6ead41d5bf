#include "block/compression.hpp"

#include <zlib.h>
#include <zstd.h>

#include <memory>

namespace nagaya::block::qcow2 {
namespace {

constexpr int window_bits = -12;  // raw deflate, 4 KiB window, as every qcow2 writer has it

std::optional<std::vector<u8>> deflate_all(std::span<const u8> in) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, window_bits, 9, Z_DEFAULT_STRATEGY) != Z_OK) return {};
  std::vector<u8> out(in.size() - 1);
  stream.next_in = const_cast<u8*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  const int end = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (end != Z_STREAM_END) return {};
  return out;
}

bool inflate_all(std::span<const u8> in, std::span<u8> out) {
  z_stream stream{};
  if (inflateInit2(&stream, window_bits) != Z_OK) return false;
  stream.next_in = const_cast<u8*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  const int end = inflate(&stream, Z_FINISH);
  const bool full = stream.total_out == out.size();
  inflateEnd(&stream);
  return full && (end == Z_STREAM_END || end == Z_BUF_ERROR);
}

bool unzstd_all(std::span<const u8> in, std::span<u8> out) {
  const std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream(ZSTD_createDStream(), &ZSTD_freeDStream);
  if (!stream) return false;
  ZSTD_inBuffer from{in.data(), in.size(), 0};
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  while (to.pos < to.size) {
    const std::size_t had_in = from.pos, had_out = to.pos;
    if (ZSTD_isError(ZSTD_decompressStream(stream.get(), &to, &from))) return false;
    if (from.pos == had_in && to.pos == had_out) return false;
  }
  return true;
}

}  // namespace

std::optional<std::vector<u8>> compress(Compression kind, std::span<const u8> in) {
  if (kind == Compression::zlib) return deflate_all(in);
  std::vector<u8> out(in.size() - 1);
  const std::size_t size = ZSTD_compress(out.data(), out.size(), in.data(), in.size(), ZSTD_CLEVEL_DEFAULT);
  if (ZSTD_isError(size)) return {};
  out.resize(size);
  return out;
}

bool decompress(Compression kind, std::span<const u8> in, std::span<u8> out) {
  return kind == Compression::zlib ? inflate_all(in, out) : unzstd_all(in, out);
}

}  // namespace nagaya::block::qcow2
