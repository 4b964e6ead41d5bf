#include "net/segment.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace nagaya::net {
namespace {

constexpr u16 type_ip4 = 0x0800, type_ip6 = 0x86dd, type_vlan = 0x8100, type_svlan = 0x88a8;
constexpr u8 protocol_tcp = 6, protocol_udp = 17, tcp_fin = 0x01, tcp_push = 0x08, tcp_cwr = 0x80;

u16 load_be16(const u8* at) { return static_cast<u16>(at[0] << 8 | at[1]); }
u32 load_be32(const u8* at) { return u32{load_be16(at)} << 16 | load_be16(at + 2); }
void store_be16(u8* at, std::size_t value) {
  at[0] = static_cast<u8>(value >> 8);
  at[1] = static_cast<u8>(value);
}
void store_be32(u8* at, u32 value) {
  store_be16(at, value >> 16);
  store_be16(at + 2, value & 0xffff);
}

}  // namespace

u64 add_sum(std::span<const u8> data, u64 sum) {
  // Eight bytes at a time, in memory order: the folded sum of swapped words is the swapped sum.
  u64 total = 0;
  const u8* at = data.data();
  std::size_t left = data.size();
  for (; left >= 8; left -= 8, at += 8) {
    u64 word;
    std::memcpy(&word, at, 8);
    total += word;
    total += total < word;
  }
  u64 tail = 0;
  std::memcpy(&tail, at, left);
  total += tail;
  total += total < tail;
  total = (total & 0xffff'ffff) + (total >> 32);
  total = (total & 0xffff) + (total >> 16 & 0xffff) + (total >> 32);
  total = (total & 0xffff) + (total >> 16);
  total = (total & 0xffff) + (total >> 16);
  const u16 folded = static_cast<u16>(total);
  return sum + static_cast<u16>(folded << 8 | folded >> 8);
}

u16 finish_sum(u64 sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<u16>(~sum);
}

bool Segmenter::begin(const Header& header, std::span<u8> frame) {
  header_ = header;
  frame_ = frame;
  active_ = false;
  if (header.gso_type == gso::none) {
    if (header.flags & flag::needs_csum) {
      // The field holds the pseudo header's sum already, so that it is part of what is summed.
      u8* field = frame.data() + header.csum_start + header.csum_offset;
      u16 sum = finish_sum(add_sum(frame.subspan(header.csum_start)));
      // A sum of 0 would say "none" to UDP; both spellings mean the same to the others.
      store_be16(field, sum == 0 ? 0xffff : sum);
    }
    parts_[0] = {frame.data(), frame.size()};
    parts_count_ = 1;
    at_ = 0;
    size_ = frame.size();
    payload_ = 0;
    return active_ = true;
  }
  if (!parse()) return false;
  at_ = payload_;
  number_ = 0;
  build();
  return active_ = true;
}

bool Segmenter::parse() {
  const std::size_t size = frame_.size();
  const u8* data = frame_.data();
  std::size_t at = ethernet_size - 2;
  u16 type = load_be16(data + at);
  for (unsigned tags = 0; tags < 2 && (type == type_vlan || type == type_svlan); ++tags) {
    at += vlan_size;
    if (at + 2 > size) return false;
    type = load_be16(data + at);
  }
  ip_ = at + 2;
  l4_ = header_.csum_start;
  const u8 kind = header_.gso_type & static_cast<u8>(~gso::ecn);
  tcp_ = kind != gso::udp;
  ip6_ = type == type_ip6;
  if (!ip6_ && type != type_ip4) return false;
  if ((kind == gso::tcp4 && ip6_) || (kind == gso::tcp6 && !ip6_)) return false;
  if (ip6_) {
    if (l4_ < ip_ + 40 || l4_ > size) return false;
  } else {
    if (ip_ + 20 > size || data[ip_] >> 4 != 4 || l4_ != ip_ + (data[ip_] & 15) * 4u || l4_ < ip_ + 20) return false;
    if (data[ip_ + 9] != (tcp_ ? protocol_tcp : protocol_udp)) return false;
  }
  if (l4_ + (tcp_ ? 20 : 8) > size) return false;
  const std::size_t l4_size = tcp_ ? (data[l4_ + 12] >> 4) * 4u : 8u;
  payload_ = l4_ + l4_size;
  return (!tcp_ || l4_size >= 20) && payload_ <= size && payload_ <= headers_.size();
}

/// The headers of the segment at at_, made from those of the whole.
void Segmenter::build() {
  size_ = std::min<std::size_t>(header_.gso_size, frame_.size() - at_);
  const bool last = at_ + size_ == frame_.size();
  u8* headers = headers_.data();
  std::memcpy(headers, frame_.data(), payload_);
  u8 *ip = headers + ip_, *l4 = headers + l4_;
  const std::size_t l4_bytes = payload_ - l4_ + size_;
  u64 sum = l4_bytes + (tcp_ ? protocol_tcp : protocol_udp);  // the pseudo header's
  if (ip6_) {
    store_be16(ip + 4, l4_ - ip_ - 40 + l4_bytes);
    sum = add_sum({ip + 8, 32}, sum);
  } else {
    store_be16(ip + 2, l4_ - ip_ + l4_bytes);
    store_be16(ip + 4, static_cast<u16>(load_be16(ip + 4) + number_));
    store_be16(ip + 10, 0);
    store_be16(ip + 10, finish_sum(add_sum({ip, l4_ - ip_})));
    sum = add_sum({ip + 12, 8}, sum);
  }
  u8* field = l4 + header_.csum_offset;
  store_be16(field, 0);
  if (tcp_) {
    store_be32(l4 + 4, load_be32(l4 + 4) + static_cast<u32>(at_ - payload_));
    if (!last) l4[13] &= static_cast<u8>(~(tcp_fin | tcp_push));
    if (number_ != 0) l4[13] &= static_cast<u8>(~tcp_cwr);
  } else {
    store_be16(l4 + 4, l4_bytes);
  }
  // The headers behind l4_ are of even length, so that the payload's sum adds up as it is.
  sum = add_sum({l4, payload_ - l4_}, sum);
  sum = add_sum(frame_.subspan(at_, size_), sum);
  const u16 folded = finish_sum(sum);
  store_be16(field, folded == 0 && !tcp_ ? 0xffff : folded);
  parts_[0] = {headers, payload_};
  parts_[1] = {frame_.data() + at_, size_};
  parts_count_ = 2;
}

void Segmenter::advance() {
  at_ += size_;
  ++number_;
  if (at_ >= frame_.size()) {
    active_ = false;
  } else {
    build();
  }
}

}  // namespace nagaya::net
