#include "agent/protocol.hpp"

#include <algorithm>

#include "state/archive.hpp"

namespace nagaya::agent {
namespace {

using state::Reader;
using state::Writer;

constexpr std::size_t most_texts = 4096, longest_path = 4095;

Reader reader(std::span<const u8> payload) { return {"the agent's protocol", 1, payload}; }

void put_texts(Writer& out, const std::vector<std::string>& texts) {
  out.put(static_cast<u32>(texts.size()));
  for (const std::string& text : texts) out.put_string(text);
}

std::vector<std::string> get_texts(Reader& in) {
  std::vector<std::string> out;
  const u32 count = in.get<u32>();
  if (count > most_texts) {
    in.reject("a list that is too long");
    return out;
  }
  for (u32 i = 0; i < count; ++i) out.push_back(in.get_string());
  return out;
}

/// A string for system calls.
std::string get_name(Reader& in) {
  std::string text = in.get_string();
  if (text.find('\0') != std::string::npos) in.reject("a zero byte in a name");
  return text;
}

template <class E>
E get_enum(Reader& in, E first, E last) {
  const E value = in.get<E>();
  if (value < first || value > last) in.reject("an unknown number");
  return value;
}

void put(Writer& out, const ExecRequest& r) {
  put_texts(out, r.command);
  put_texts(out, r.environment);
  out.put_string(r.folder);
  out.put_string(r.user);
  out.put(r.terminal);
  out.put(r.input);
  out.put(r.columns);
  out.put(r.rows);
}

void get(Reader& in, ExecRequest& r) {
  r.command = get_texts(in);
  r.environment = get_texts(in);
  r.folder = get_name(in);
  r.user = get_name(in);
  in.get(r.terminal);
  in.get(r.input);
  in.get(r.columns);
  in.get(r.rows);
  if (r.command.empty() || r.command[0].empty()) in.reject("no command");
  for (const auto* list : {&r.command, &r.environment}) {
    for (const std::string& text : *list) {
      if (text.find('\0') != std::string::npos) in.reject("a zero byte in a word");
    }
  }
}

}  // namespace

void FrameReader::feed(std::span<const u8> bytes) {
  if (at_ == bytes_.size()) {
    bytes_.clear();
    at_ = 0;
  }
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

Result<std::optional<Frame>> FrameReader::next() {
  const std::span<const u8> rest = std::span(bytes_).subspan(at_);
  if (rest.size() < frame_header) return std::nullopt;
  Reader header = reader(rest.first(frame_header));
  const u32 length = header.get<u32>();
  const Kind kind = header.get<Kind>();
  if (length > most_payload) return fail("the agent's protocol", "a frame that is too long");
  if (kind < Kind::request || kind > Kind::finished || rest[5] != 0 || rest[6] != 0 || rest[7] != 0) {
    return fail("the agent's protocol", "a frame of an unknown kind");
  }
  if (rest.size() - frame_header < length) return std::nullopt;
  const auto payload = rest.subspan(frame_header, length);
  Frame frame{kind, {payload.begin(), payload.end()}};
  at_ += frame_header + length;
  // Keeps the buffer from growing while frames come without a pause.
  if (at_ >= most_payload) {
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ = 0;
  }
  return frame;
}

void put_frame(std::vector<u8>& out, Kind kind, std::span<const u8> payload) {
  Writer header;
  header.put(static_cast<u32>(payload.size()));
  header.put(kind);
  for (int i = 0; i < 3; ++i) header.put(u8{0});
  out.insert(out.end(), header.bytes().begin(), header.bytes().end());
  out.insert(out.end(), payload.begin(), payload.end());
}

std::vector<u8> encode(const Request& r) {
  Writer out;
  out.put(magic);
  out.put(version);
  out.put(r.operation);
  switch (r.operation) {
    case Operation::exec: put(out, r.exec); break;
    case Operation::get_files: out.put_string(r.path); break;
    case Operation::put_files:
      out.put_string(r.put.path);
      out.put_string(r.put.name);
      break;
    case Operation::set_time: out.put(r.time_ns); break;
    case Operation::power: out.put(r.power); break;
    case Operation::ping:
    case Operation::addresses: break;
  }
  return out.bytes();
}

Result<Request> decode_request(std::span<const u8> payload) {
  Reader in = reader(payload);
  Request r;
  if (in.get<u32>() != magic) return fail("the agent's protocol", "this is none of our requests");
  if (const u32 theirs = in.get<u32>(); theirs != version) {
    return fail("the agent's protocol", "the host speaks version " + std::to_string(theirs) + ", the agent " + std::to_string(version));
  }
  r.operation = get_enum(in, Operation::ping, Operation::addresses);
  switch (r.operation) {
    case Operation::exec: get(in, r.exec); break;
    case Operation::get_files: r.path = get_name(in); break;
    case Operation::put_files:
      r.put.path = get_name(in);
      r.put.name = get_name(in);
      if (!safe_path(r.put.name) || r.put.name.find('/') != std::string::npos) in.reject("an unsafe name");
      break;
    case Operation::set_time: in.get(r.time_ns); break;
    case Operation::power: r.power = get_enum(in, Power::off, Power::reboot); break;
    default: break;
  }
  TRY(in.finish());
  return r;
}

std::vector<u8> encode(const Failure& failure) {
  Writer out;
  out.put(static_cast<i32>(failure.code));
  out.put_string(failure.text);
  return out.bytes();
}

Result<Failure> decode_failure(std::span<const u8> payload) {
  Reader in = reader(payload);
  Failure out;
  out.code = in.get<i32>();
  out.text = in.get_string();
  TRY(in.finish());
  return out;
}

std::vector<u8> encode(const Window& window) {
  Writer out;
  out.put(window.stream);
  out.put(window.bytes);
  return out.bytes();
}

Result<Window> decode_window(std::span<const u8> payload) {
  Reader in = reader(payload);
  Window out;
  out.stream = get_enum(in, Stream::input, Stream::errors);
  out.bytes = in.get<u32>();
  if (out.bytes > stream_window) in.reject("more than a window");
  TRY(in.finish());
  return out;
}

std::vector<u8> encode(const Resize& size) {
  Writer out;
  out.put(size.columns);
  out.put(size.rows);
  return out.bytes();
}

Result<Resize> decode_resize(std::span<const u8> payload) {
  Reader in = reader(payload);
  Resize out;
  in.get(out.columns);
  in.get(out.rows);
  TRY(in.finish());
  return out;
}

std::vector<u8> encode(const Exited& exited) {
  Writer out;
  out.put(exited.signalled);
  out.put(exited.value);
  return out.bytes();
}

Result<Exited> decode_exited(std::span<const u8> payload) {
  Reader in = reader(payload);
  Exited out;
  in.get(out.signalled);
  in.get(out.value);
  if (out.value > (out.signalled ? 64u : 255u)) in.reject("no way to end");
  TRY(in.finish());
  return out;
}

bool safe_path(std::string_view path) {
  if (path.empty()) return true;
  if (path.size() > longest_path || path.find('\0') != std::string_view::npos) return false;
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

std::vector<u8> encode(const Entry& e) {
  Writer out;
  out.put(e.type);
  out.put(e.mode);
  out.put(e.user);
  out.put(e.group);
  out.put(e.seconds);
  out.put(e.nanoseconds);
  out.put(e.size);
  out.put_string(e.path);
  out.put_string(e.target);
  return out.bytes();
}

Result<Entry> decode_entry(std::span<const u8> payload) {
  Reader in = reader(payload);
  Entry e;
  e.type = get_enum(in, Entry::Type::file, Entry::Type::link);
  in.get(e.mode);
  in.get(e.user);
  in.get(e.group);
  in.get(e.seconds);
  in.get(e.nanoseconds);
  in.get(e.size);
  e.path = in.get_string();
  e.target = get_name(in);
  if (!safe_path(e.path)) in.reject("an unsafe path");
  if (e.mode > 07777 || e.nanoseconds >= 1'000'000'000 || e.size > (u64{1} << 62)) in.reject("a number out of range");
  if ((e.type == Entry::Type::link) == e.target.empty() || e.target.size() > longest_path) in.reject("a link's target");
  TRY(in.finish());
  return e;
}

std::vector<u8> encode(const std::vector<std::string>& texts) {
  Writer out;
  put_texts(out, texts);
  return out.bytes();
}

Result<std::vector<std::string>> decode_texts(std::span<const u8> payload) {
  Reader in = reader(payload);
  auto out = get_texts(in);
  TRY(in.finish());
  return out;
}

std::vector<u8> encode_text(std::string_view text) {
  Writer out;
  out.put_string(text);
  return out.bytes();
}

Result<std::string> decode_text(std::span<const u8> payload) {
  Reader in = reader(payload);
  std::string out = in.get_string();
  TRY(in.finish());
  return out;
}

}  // namespace nagaya::agent
