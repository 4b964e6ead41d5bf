#include "virtio/balloon/balloon.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "bus/bytes.hpp"

namespace nagaya::virtio {
namespace {

constexpr u64 f_statistics = feature(1), f_deflate_on_oom = feature(2), f_reporting = feature(5);
constexpr unsigned inflate_queue = 0, deflate_queue = 1, statistics_queue = 2;
/// Page numbers in one request: a driver sends 256. More would keep a reset waiting.
constexpr u64 most_pages = 16384;
/// Entries of statistics that we look at, and tags whose meaning is known (5.5.6.3).
constexpr u64 most_statistics = 64;
constexpr std::array<std::string_view, 10> statistic_names = {
    "swap in (bytes)", "swap out (bytes)", "major faults", "minor faults", "free memory (bytes)", "total memory (bytes)",
    "available memory (bytes)", "disk caches (bytes)", "huge pages allocated", "huge pages failed"};

}  // namespace

Balloon::Balloon(std::string name, memory::GuestMemory& memory, const BalloonOptions& options)
    : VirtioDevice(std::move(name), type::balloon, memory,
                   options.free_page_reporting ? std::vector<u16>{128, 128, 64, 64} : std::vector<u16>{128, 128, 64}),
      options_(options),
      worker_("virtio-balloon", [this](unsigned queue) { serve(queue); }, 4) {}

Balloon::~Balloon() { stop(); }

u64 Balloon::device_features() const {
  return f_statistics | (options_.deflate_on_oom ? f_deflate_on_oom : 0) | (options_.free_page_reporting ? f_reporting : 0);
}

u64 Balloon::ram_pages() const { return memory().ram_size() / page_size; }

Result<> Balloon::set_target(u64 keep) {
  const u64 ram = memory().ram_size();
  if (keep == 0 || keep > ram) return fail(fmt::format("balloon target of {} bytes", keep), fmt::format("it must be 1 to {}", ram));
  {
    std::lock_guard lock(mutex_);
    target_pages_ = wished_pages_ = static_cast<u32>(std::min<u64>((ram - keep) / page_size, 0xffff'ffff));
  }
  config_changed();
  return {};
}

u64 Balloon::inflated() const {
  std::lock_guard lock(mutex_);
  return u64{actual_pages_} * page_size;
}

std::string Balloon::describe() {
  std::string out;
  {
    std::lock_guard lock(mutex_);
    refresh_ = true;
    out = fmt::format("target: {} bytes given away\nnow: {} bytes given away\n", u64{target_pages_} * page_size, u64{actual_pages_} * page_size);
    for (const Statistic& s : statistics_) {
      if (s.tag < statistic_names.size()) out += fmt::format("{}: {}\n", statistic_names[s.tag], s.value);
    }
  }
  if (negotiated(f_statistics)) worker_.kick(statistics_queue);
  return out;
}

void Balloon::read_config(u64 offset, std::span<u8> data) {
  std::array<u8, 8> image;
  {
    std::lock_guard lock(mutex_);
    bus::store_le(std::span(image).first(4), target_pages_);
    bus::store_le(std::span(image).subspan(4), actual_pages_);
  }
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = offset < 8 && offset + i < 8 ? image[offset + i] : u8{0};
}

void Balloon::write_config(u64 offset, std::span<const u8> data) {
  std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < data.size(); ++i) {
    const u64 at = offset + i;
    if (at < 4 || at >= 8) continue;  // only 'actual' is the driver's
    const unsigned shift = static_cast<unsigned>(8 * (at - 4));
    actual_pages_ = (actual_pages_ & ~(u32{0xff} << shift)) | u32{data[i]} << shift;
  }
}

void Balloon::reset_state() {
  std::lock_guard lock(mutex_);
  target_pages_ = wished_pages_;
  actual_pages_ = 0;
  refresh_ = false;
  statistics_.clear();
}

void Balloon::save_state(state::Writer& out) const {
  std::lock_guard lock(mutex_);
  out.put(target_pages_);
  out.put(actual_pages_);
}

void Balloon::restore_state(state::Reader& in) {
  std::lock_guard lock(mutex_);
  in.get(target_pages_);
  in.get(actual_pages_);
  if (target_pages_ > ram_pages()) in.reject("a balloon larger than the machine");
}

// ---- The worker ----

void Balloon::serve(unsigned index) {
  // Queues after the second are there only as far as their features were agreed upon (5.5.2).
  const bool statistics = negotiated(f_statistics);
  const unsigned reporting_queue = statistics ? 3 : 2;
  if (index == inflate_queue || index == deflate_queue) {
    serve_all(index, chain_, [&](const Chain& chain) -> std::optional<u64> {
      if (index == inflate_queue) inflate(chain);  // pages taken back are there as soon as they are touched
      return 0;
    });
  } else if (statistics && index == statistics_queue) {
    take_statistics();
  } else if (negotiated(f_reporting) && index == reporting_queue) {
    serve_all(index, chain_, [&](const Chain& chain) -> std::optional<u64> {
      take_report(chain);
      return 0;
    });
  }
}

void Balloon::inflate(const Chain& chain) {
  const u64 count = chain.readable_bytes / 4;
  if (count > most_pages) return broken("a request to inflate by too many pages");
  std::vector<u8> bytes(count * 4);
  (void)chain.read(0, bytes);
  pages_.clear();
  for (u64 i = 0; i < count; ++i) pages_.push_back(static_cast<u32>(bus::load_le(std::span(bytes).subspan(4 * i, 4))));
  give_back_pages();
}

/// In runs: one call to the host for neighbours.
void Balloon::give_back_pages() {
  std::ranges::sort(pages_);
  for (std::size_t i = 0; i < pages_.size();) {
    std::size_t end = i + 1;
    while (end < pages_.size() && pages_[end] - pages_[end - 1] <= 1) ++end;
    const u64 first = pages_[i], size = (u64{pages_[end - 1]} - first + 1) * page_size;
    i = end;
    if (memory().give_back(Gpa(first * page_size), size)) continue;
    // Across the hole below 4 GiB neighbours in the list are none in memory; what is no RAM at all is nonsense.
    for (u64 page = first; page < first + size / page_size; ++page) {
      if (!memory().give_back(Gpa(page * page_size), page_size)) return broken("a page of the balloon that is no RAM");
    }
  }
}

void Balloon::take_report(const Chain& chain) {
  for (const Segment& segment : chain.writable) {
    // Parts of pages stay: the rest of such a page may be in use.
    const u64 first = (segment.gpa.value + page_size - 1) & ~(page_size - 1);
    const u64 end = (segment.gpa.value + segment.length) & ~(page_size - 1);
    if (first < end) (void)memory().give_back(Gpa(first), end - first);
  }
}

/// The driver leaves one buffer in this ring, which holds its statistics; giving it back asks for new ones.
void Balloon::take_statistics() {
  std::lock_guard lock(mutex_);
  Queue& ring = queue(statistics_queue);
  if (!ring.enabled() || (!pop(statistics_queue, chain_) && !(ring.enable_notifications() && pop(statistics_queue, chain_)))) return;
  constexpr std::size_t entry = 10;  // tag (2), value (8)
  std::array<u8, entry * most_statistics> bytes;
  const std::size_t count = chain_.read(0, bytes) / entry;
  statistics_.clear();
  for (std::size_t i = 0; i < count; ++i) {
    const auto one = std::span(bytes).subspan(entry * i, entry);
    statistics_.push_back({static_cast<u16>(bus::load_le(one.first(2))), bus::load_le(one.subspan(2))});
  }
  if (!refresh_) return ring.unpop(chain_);
  refresh_ = false;
  ring.push(chain_, 0);
  interrupt(statistics_queue);
}

}  // namespace nagaya::virtio
