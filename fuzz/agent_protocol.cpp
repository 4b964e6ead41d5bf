// What the two sides of the guest agent send each other. The first byte chooses how: 0 to 15 a stream of frames, fed in
// pieces of that size, and each payload read by its decoder; above, one payload for all decoders.
#include "agent/protocol.hpp"

#include <cstdlib>

#include "fuzz.hpp"

namespace {

using namespace nagaya;
using namespace nagaya::agent;

void check_entry(std::span<const u8> payload) {
  const auto entry = decode_entry(payload);
  if (!entry) return;
  if (!safe_path(entry->path) || entry->path == ".." || entry->path.starts_with("../")) std::abort();
  if (!entry->path.empty() && entry->path[0] == '/') std::abort();
}

void decode_all(std::span<const u8> payload) {
  if (const auto request = decode_request(payload)) {
    if (request->operation == Operation::exec && request->exec.command.empty()) std::abort();
    // What was understood is said again in the same way.
    if (!decode_request(encode(*request))) std::abort();
  }
  (void)decode_failure(payload);
  (void)decode_window(payload);
  (void)decode_resize(payload);
  (void)decode_exited(payload);
  (void)decode_texts(payload);
  (void)decode_text(payload);
  check_entry(payload);
}

}  // namespace

std::vector<std::vector<u8>> nagaya::fuzz::seeds() {
  std::vector<std::vector<u8>> payloads;
  payloads.push_back(encode(Request{.operation = Operation::exec, .exec = {.command = {"ls", "-l"}, .environment = {"A=1"}, .folder = "/srv", .user = "www"}}));
  payloads.push_back(encode(Request{.operation = Operation::put_files, .put = {"/srv", "site"}}));
  payloads.push_back(encode(Request{.operation = Operation::set_time, .time_ns = 1}));
  payloads.push_back(encode(Entry{.mode = 0644, .size = 3, .path = "a/b"}));
  payloads.push_back(encode(Entry{.type = Entry::Type::link, .path = "l", .target = "../x"}));
  payloads.push_back(encode(std::vector<std::string>{"a", "bc"}));
  payloads.push_back(encode(Window{Stream::errors, 100}));
  payloads.push_back(encode(Exited{true, 9}));
  std::vector<std::vector<u8>> out;
  std::vector<u8> stream{3};
  for (const auto& payload : payloads) {
    put_frame(stream, Kind::request, payload);
    out.push_back({99});
    out.back().insert(out.back().end(), payload.begin(), payload.end());
  }
  out.push_back(stream);
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  if (size == 0) return 0;
  std::span<const u8> rest(data + 1, size - 1);
  if (data[0] > 15) {
    decode_all(rest);
    return 0;
  }
  FrameReader reader;
  while (!rest.empty()) {
    const auto piece = rest.first(std::min<std::size_t>(rest.size(), data[0] + 1u));
    rest = rest.subspan(piece.size());
    reader.feed(piece);
    while (true) {
      auto frame = reader.next();
      if (!frame) return 0;
      if (!*frame) break;
      if ((*frame)->payload.size() > most_payload) std::abort();
      decode_all((*frame)->payload);
    }
  }
  return 0;
}
