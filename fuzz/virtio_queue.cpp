// Rings that a guest filled: the first byte chooses their kind and size, the rest is what lies in guest memory from the
// descriptors on. Every buffer that comes out must lie in RAM and be worth its length.
#include "virtio/queue.hpp"

#include <cstdlib>

#include "fuzz.hpp"

namespace {

using namespace nagaya;

constexpr u64 ram = 256 * KiB, descriptors = 0x1000, driver = 0x1400, device = 0x1800, window = 0x2000;

memory::GuestMemory& memory_of_guest() {
  static auto memory = memory::GuestMemory::create(ram);
  if (!memory) std::abort();
  return **memory;
}

void check(const std::vector<virtio::Segment>& segments) {
  for (const virtio::Segment& s : segments) {
    if (s.length == 0 || s.gpa.value >= ram || s.length > ram - s.gpa.value || s.host == nullptr) std::abort();
  }
}

void put(std::vector<u8>& out, std::size_t at, u64 value, unsigned size) {
  if (out.size() < at + size) out.resize(at + size);
  for (unsigned i = 0; i < size; ++i) out[at + i] = static_cast<u8>(value >> (8 * i));
}

/// One sound chain of two buffers, in the form of the ring that `kind` chooses; with an indirect table when asked.
std::vector<u8> sound(u8 kind, bool indirect) {
  const bool packed = kind & 1;
  std::vector<u8> out = {kind};
  const auto descriptor = [&](u64 at, u64 address, u32 length, u16 flags, u16 next) {
    put(out, 1 + at, address, 8);
    put(out, 1 + at + 8, length, 4);
    put(out, 1 + at + 12, packed ? next : flags, 2);
    put(out, 1 + at + 14, packed ? flags : next, 2);
  };
  const u16 available = packed ? 0x80 : 0;
  if (indirect) {
    descriptor(0, window, 32, static_cast<u16>(4 | available), 0);
    descriptor(window - descriptors, 0x8000, 16, packed ? 0 : 1, 1);
    descriptor(window - descriptors + 16, 0x9000, 512, 2, 0);
  } else {
    descriptor(0, 0x8000, 16, static_cast<u16>(1 | available), packed ? 0 : 1);
    descriptor(16, 0x9000, 512, static_cast<u16>(2 | available), 0);
  }
  if (!packed) put(out, 1 + (driver - descriptors) + 2, 1, 2);
  return out;
}

}  // namespace

std::vector<std::vector<u8>> nagaya::fuzz::seeds() {
  std::vector<std::vector<u8>> out;
  for (u8 kind = 0; kind < 4; ++kind) {
    for (bool indirect : {false, true}) out.push_back(sound(static_cast<u8>(kind | 0x20), indirect));
  }
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  if (size == 0) return 0;
  auto& memory = memory_of_guest();
  const virtio::RingFeatures features{.packed = (data[0] & 1) != 0, .event_index = (data[0] & 2) != 0, .indirect = true};
  (void)memory.fill(Gpa(descriptors), window, 0);
  (void)memory.write(Gpa(descriptors), std::span(data + 1, std::min<std::size_t>(size - 1, 2 * window)));
  virtio::Queue queue(64);
  queue.set_size(static_cast<u16>(1u << (data[0] >> 4) % 7));
  queue.set_descriptors(Gpa(descriptors));
  queue.set_driver_area(Gpa(driver));
  queue.set_device_area(Gpa(device));
  if (!queue.enable(memory, features)) std::abort();
  std::vector<virtio::Chain> held;
  for (unsigned step = 0; step < 200; ++step) {
    virtio::Chain chain;
    auto popped = queue.pop(chain);
    if (!popped || !*popped) break;
    check(chain.readable);
    check(chain.writable);
    if (queue.in_flight() > queue.size()) std::abort();
    u8 byte = 0;
    (void)chain.read(chain.readable_bytes / 2, std::span(&byte, 1));
    if (step % 3 == 2) {
      held.push_back(chain);
      continue;
    }
    queue.push(chain, byte);
    (void)queue.wants_interrupt();
    (void)queue.enable_notifications();
  }
  for (const auto& chain : held) queue.push(chain, chain.writable_bytes);
  if (queue.in_flight() != 0) std::abort();
  state::Writer out;
  queue.save(out);
  virtio::Queue other(64);
  state::Reader in("queue", 1, out.bytes());
  other.restore(in, memory, features);
  if (!in.finish()) std::abort();
  return 0;
}
