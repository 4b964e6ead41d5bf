// Opening, looking up, reading and writing back.
#include "block/qcow2_image.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/log.hpp"
#include "block/compression.hpp"

namespace nagaya::block::qcow2 {
namespace {

constexpr u64 l2_cache_bytes = 32 * MiB;
constexpr u64 max_waiting = 8192;  // runs of clusters that wait to be freed

}  // namespace

Qcow2Image::Qcow2Image(File file, Header header, std::unique_ptr<Image> backing, Options options)
    : file_(std::move(file)),
      header_(std::move(header)),
      backing_(std::move(backing)),
      options_(options),
      size_(round_up(header_.size, sector_size)),
      l2_(file_, header_.cluster_size(), l2_cache_bytes),
      refcounts_(file_, header_) {}

Qcow2Image::~Qcow2Image() { (void)close(); }

Result<std::unique_ptr<Qcow2Image>> Qcow2Image::open(File file, std::unique_ptr<Image> backing, Options options) {
  TRY_ASSIGN(Header header, read_header(file));
  if (!header.backing_path.empty() && !backing) {
    return fail(fmt::format("cannot use '{}'", file.name()), "its backing file is not open");
  }
  std::unique_ptr<Qcow2Image> image(new Qcow2Image(std::move(file), std::move(header), std::move(backing), options));
  if (auto done = image->load(); !done) {
    image->closed_ = true;
    return std::unexpected(std::move(done.error()).within(fmt::format("cannot use '{}'", image->file_.name())));
  }
  return image;
}

Result<> Qcow2Image::reload() {
  l2_.drop_all();
  l1_dirty_.clear();
  refcounts_.forget();
  packed_at_ = 0;
  changed_ = false;
  TRY_ASSIGN(l1_, read_l1(header_.l1_offset, header_.l1_entries));
  TRY(load_snapshots());
  if (const int error = refcounts_.load(); error != 0) return fail_errno("cannot read the refcount table", error);
  if (file_.read_only()) return {};
  refcounts_.reserve(header_.l1_offset >> header_.cluster_bits, clusters_of(l1_.size() * 8));
  for (const u64 entry : l1_)
    if ((entry & offset_mask) != 0) refcounts_.reserve((entry & offset_mask) >> header_.cluster_bits, 1);
  for (const Snapshot& snapshot : snapshots_)
    refcounts_.reserve(snapshot.l1_offset >> header_.cluster_bits, clusters_of(u64{snapshot.l1_entries} * 8));
  return {};
}

Result<> Qcow2Image::load() {
  TRY(reload());
  if (file_.read_only()) return {};
  if (options_.for_check) return {};
  if (header_.incompatible & incompatible_corrupt) {
    return fail("the image is marked corrupt", "", "it can be read only, or repaired: nagaya volume check --repair");
  }
  if (header_.autoclear != 0) {
    // Bitmaps and other features that we do not keep up to date: clearing the bits says so.
    const std::array<u8, 8> none{};
    if (const int error = file_.write(field::autoclear, none.data(), none.size()); error != 0) {
      return fail_errno("cannot write the header", error);
    }
    header_.autoclear = 0;
  }
  if (header_.incompatible & incompatible_dirty) {
    log::info("'{}' was not closed in order: its refcounts are rebuilt", file_.name());
    TRY_ASSIGN(const CheckReport report, check(true));
    if (!report.clean()) return fail("the image is damaged", report.messages.empty() ? "" : report.messages.front(),
                                     "see: nagaya volume check");
  }
  return {};
}

Result<std::vector<u64>> Qcow2Image::read_l1(u64 offset, u64 entries) const {
  TRY_ASSIGN(const u64 bytes, file_.size());
  if (entries * 8 > max_l1_bytes || !in_range(offset, entries * 8, bytes)) return fail("an L1 table lies outside the file");
  std::vector<u8> raw(entries * 8);
  if (const int error = file_.read(offset, raw.data(), raw.size()); error != 0) return fail_errno("cannot read an L1 table", error);
  std::vector<u64> out(entries);
  for (u64 i = 0; i < entries; ++i) out[i] = load_be<u64>(&raw[i * 8]);
  return out;
}

Capabilities Qcow2Image::capabilities() const {
  const bool change = !file_.read_only();
  return {.read_only = !change, .discard = change && options_.discard, .write_zeroes = change,
          .discard_granularity = cluster_size(), .optimal_io = cluster_size()};
}

std::expected<Qcow2Image::Entry, int> Qcow2Image::decode(u64 raw) const {
  Entry out;
  if (raw & flag_compressed) {
    const u32 bits = 62 - (header_.cluster_bits - 8);
    out.kind = Kind::compressed;
    out.host = raw & ((u64{1} << bits) - 1);
    const u64 sectors = (raw & ~(flag_compressed | flag_copied)) >> bits;
    out.bytes = (sectors + 1) * 512 - (out.host & 511);
    if (out.host >> 56) return std::unexpected(EIO);
    return out;
  }
  out.host = raw & offset_mask;
  out.copied = (raw & flag_copied) != 0;
  if (out.host & (cluster_size() - 1)) return std::unexpected(EIO);
  if (raw & flag_zero) {
    if (header_.version < 3) return std::unexpected(EIO);
    out.kind = out.host == 0 ? Kind::zero : Kind::zero_allocated;
  } else {
    out.kind = out.host == 0 ? Kind::absent : Kind::data;
  }
  return out;
}

std::expected<TablePtr, int> Qcow2Image::l2_of(u64 cluster) {
  const u64 index = cluster / header_.l2_entries();
  if (index >= l1_.size()) return TablePtr{};
  const u64 offset = l1_[index] & offset_mask;
  if (offset == 0) return TablePtr{};
  if (offset & (cluster_size() - 1)) return std::unexpected(EIO);
  return l2_.get(offset);
}

std::expected<Qcow2Image::Entry, int> Qcow2Image::lookup(u64 cluster) {
  auto table = l2_of(cluster);
  if (!table) return std::unexpected(table.error());
  if (!*table) return Entry{};
  return decode((*table)->entry(cluster % header_.l2_entries()));
}

// The longest run from `offset` on whose clusters are of one kind and lie side by side in the file.
std::expected<Qcow2Image::RunOf, int> Qcow2Image::run_at(u64 offset, u64 length) {
  const u64 cluster = offset >> header_.cluster_bits, in_cluster = offset & (cluster_size() - 1);
  const u64 slot = cluster % header_.l2_entries(), slots = header_.l2_entries() - slot;
  auto table = l2_of(cluster);
  if (!table) return std::unexpected(table.error());
  if (!*table) return RunOf{{}, std::min(length, (slots << header_.cluster_bits) - in_cluster)};
  auto first = decode((*table)->entry(slot));
  if (!first) return std::unexpected(first.error());
  u64 have = cluster_size() - in_cluster;
  for (u64 i = 1; i < slots && have < length && first->kind != Kind::compressed; ++i) {
    const auto next = decode((*table)->entry(slot + i));
    if (!next || next->kind != first->kind || next->copied != first->copied) break;
    if (first->host != 0 && next->host != first->host + (i << header_.cluster_bits)) break;
    have += cluster_size();
  }
  return RunOf{*first, std::min(have, length)};
}

bool Qcow2Image::reads_zero(const Entry& entry) const {
  return entry.kind == Kind::zero || entry.kind == Kind::zero_allocated || (entry.kind == Kind::absent && !backing_);
}

int Qcow2Image::read_backing(u64 offset, Iov iov) {
  const u64 length = iov_length(iov);
  const u64 below = backing_ ? backing_->size() : 0;
  const u64 there = offset < below ? std::min(length, below - offset) : 0;
  iov_zero(iov, there, length - there);
  if (there == 0) return 0;
  return there == length ? backing_->read(offset, iov) : backing_->read(offset, iov_slice(iov, 0, there));
}

int Qcow2Image::read_compressed(const Entry& entry, std::span<u8> out) {
  std::vector<u8> packed(entry.bytes);
  if (const int error = file_.read(entry.host, packed.data(), packed.size()); error != 0) return error;
  return decompress(header_.compression, packed, out) ? 0 : EIO;
}

int Qcow2Image::read_run(const RunOf& run, u64 offset, Iov iov) {
  const u64 in_cluster = offset & (cluster_size() - 1);
  switch (run.entry.kind) {
    case Kind::data: return file_.read(run.entry.host + in_cluster, iov);
    case Kind::absent: return read_backing(offset, iov);
    case Kind::zero:
    case Kind::zero_allocated: iov_zero(iov, 0, run.length); return 0;
    case Kind::compressed: {
      std::vector<u8> cluster(cluster_size());
      if (const int error = read_compressed(run.entry, cluster); error != 0) return error;
      iov_scatter(iov, 0, std::span(cluster).subspan(in_cluster, run.length));
      return 0;
    }
  }
  return EIO;
}

int Qcow2Image::read(u64 offset, Iov iov) {
  const u64 length = iov_length(iov);
  const std::shared_lock lock(mutex_);
  for (u64 done = 0; done < length;) {
    auto run = run_at(offset + done, length - done);
    if (!run) return run.error();
    const int error = done == 0 && run->length == length ? read_run(*run, offset, iov)
                                                         : read_run(*run, offset + done, iov_slice(iov, done, run->length));
    if (error != 0) return error;
    done += run->length;
  }
  return 0;
}

int Qcow2Image::read_run_now(const RunOf& run, u64 offset, Iov iov) {
  if (run.entry.kind == Kind::data) return file_.read_now(run.entry.host + (offset & (cluster_size() - 1)), iov);
  if (run.entry.kind == Kind::compressed) return EAGAIN;
  if (!reads_zero(run.entry)) return in_range(offset, run.length, backing_->size()) ? backing_->read_now(offset, iov) : EAGAIN;
  iov_zero(iov, 0, run.length);
  return 0;
}

/// Not while tables change: that may take a flush's time. A table that is not in memory is read, though.
int Qcow2Image::read_now(u64 offset, Iov iov) {
  const std::shared_lock lock(mutex_, std::try_to_lock);
  if (!lock) return EAGAIN;
  const u64 length = iov_length(iov);
  for (u64 done = 0; done < length;) {
    const auto run = run_at(offset + done, length - done);
    if (!run) return EAGAIN;
    const int error = done == 0 && run->length == length ? read_run_now(*run, offset, iov)
                                                         : read_run_now(*run, offset + done, iov_slice(iov, done, run->length));
    if (error != 0) return error;
    done += run->length;
  }
  return 0;
}

Result<Extent> Qcow2Image::map(u64 offset, u64 length) {
  const std::shared_lock lock(mutex_);
  auto run = run_at(offset, length);
  if (!run) return fail_errno(fmt::format("cannot look up offset {} of '{}'", offset, file_.name()), run.error());
  Extent out{run->length, Extent::Kind::data};
  if (run->entry.kind == Kind::absent) out.kind = Extent::Kind::absent;
  if (run->entry.kind == Kind::zero || run->entry.kind == Kind::zero_allocated) out.kind = Extent::Kind::zero;
  return out;
}

int Qcow2Image::set_incompatible(u64 bits, bool on) {
  if (header_.version < 3) return 0;
  const u64 value = on ? header_.incompatible | bits : header_.incompatible & ~bits;
  if (value == header_.incompatible) return 0;
  std::array<u8, 8> raw{};
  store_be<u64>(raw.data(), value);
  if (const int error = file_.write(field::incompatible, raw.data(), raw.size()); error != 0) return error;
  header_.incompatible = value;
  return file_.sync();
}

void Qcow2Image::mark_corrupt(const char* why) {
  if (broken_.exchange(true)) return;
  log::error("'{}' is corrupt: {}; it is not written any more", file_.name(), why);
  (void)set_incompatible(incompatible_corrupt, true);
}

int Qcow2Image::write_l1() {
  for (auto at = l1_dirty_.begin(); at != l1_dirty_.end(); at = l1_dirty_.erase(at)) {
    std::array<u8, 8> raw{};
    store_be<u64>(raw.data(), l1_[*at]);
    if (const int error = file_.write(header_.l1_offset + *at * 8, raw.data(), raw.size()); error != 0) return error;
  }
  return 0;
}

// Data and refcounts first, then the L2 tables that refer to them, then the L1 entries that refer to those, and what
// nothing refers to any more is freed last.
int Qcow2Image::commit() {
  const bool lazy = header_.compatible & compatible_lazy_refcounts;
  if (lazy && refcounts_.dirty()) {
    if (const int error = set_incompatible(incompatible_dirty, true); error != 0) return error;
  } else if (const int error = refcounts_.write_back(); error != 0) {
    return error;
  }
  if (l2_.dirty() || !l1_dirty_.empty()) {
    if (const int error = file_.sync(); error != 0) return error;
    if (const int error = l2_.write_back(); error != 0) return error;
    if (!l1_dirty_.empty()) {
      if (const int error = file_.sync(); error != 0) return error;
      if (const int error = write_l1(); error != 0) return error;
    }
  }
  if (const int error = file_.sync(); error != 0) return error;
  if (refcounts_.waiting() != 0) {
    if (const int error = refcounts_.finish(options_.discard); error != 0) return error;
  }
  changed_ = false;
  return 0;
}

int Qcow2Image::after_change() {
  changed_ = true;
  return l2_.crowded() || refcounts_.waiting() > max_waiting ? commit() : 0;
}

int Qcow2Image::flush() {
  if (file_.read_only()) return 0;
  if (changed_) {
    const std::unique_lock lock(mutex_);
    return broken_ ? EIO : commit();
  }
  return file_.sync();
}

Result<> Qcow2Image::restore_clean() {
  int error = commit();
  if (error == 0) error = refcounts_.write_back();
  if (error == 0 && (header_.incompatible & incompatible_dirty)) {
    error = file_.sync();
    if (error == 0) error = set_incompatible(incompatible_dirty, false);
  }
  if (error != 0) return fail_errno(fmt::format("cannot write back '{}'", file_.name()), error);
  return {};
}

Result<> Qcow2Image::close() {
  const std::unique_lock lock(mutex_);
  if (closed_ || file_.read_only() || broken_ || options_.for_check) return {};
  TRY(restore_clean());
  closed_ = true;
  return backing_ ? backing_->close() : Result<>{};
}

}  // namespace nagaya::block::qcow2
