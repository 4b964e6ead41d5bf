#include "agent/protocol.hpp"

#include <gtest/gtest.h>

namespace nagaya::agent {
namespace {

TEST(Protocol, FramesComeWholeFromAnyPieces) {
  std::vector<u8> bytes;
  put_frame(bytes, Kind::output, std::vector<u8>{1, 2, 3});
  put_frame(bytes, Kind::input_end, {});
  put_frame(bytes, Kind::content, std::vector<u8>(most_payload, 9));
  for (std::size_t step : {1ul, 7ul, 1000ul, bytes.size()}) {
    FrameReader reader;
    std::vector<Frame> got;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      reader.feed(std::span(bytes).subspan(at, std::min(step, bytes.size() - at)));
      while (true) {
        auto frame = reader.next();
        ASSERT_TRUE(frame);
        if (!*frame) break;
        got.push_back(std::move(**frame));
      }
    }
    ASSERT_EQ(got.size(), 3u);
    EXPECT_EQ(got[0].payload, (std::vector<u8>{1, 2, 3}));
    EXPECT_EQ(got[1].kind, Kind::input_end);
    EXPECT_EQ(got[2].payload.size(), most_payload);
    EXPECT_TRUE(reader.empty());
  }
}

TEST(Protocol, FramesThatLieAreErrors) {
  const auto error = [](std::vector<u8> bytes) {
    FrameReader reader;
    reader.feed(bytes);
    return !reader.next();
  };
  EXPECT_TRUE(error({1, 0, 4, 0, 1, 0, 0, 0})) << "too long";
  EXPECT_TRUE(error({0, 0, 0, 0, 0, 0, 0, 0})) << "kind 0";
  EXPECT_TRUE(error({0, 0, 0, 0, 99, 0, 0, 0})) << "kind 99";
  EXPECT_TRUE(error({0, 0, 0, 0, 1, 0, 1, 0})) << "not zero";
  EXPECT_FALSE(error({0, 0, 0, 0, 1, 0, 0})) << "more may come";
}

TEST(Protocol, RequestsComeBackAsTheyWere) {
  const Request exec{.operation = Operation::exec,
                     .exec = {.command = {"ls", "-l", ""}, .environment = {"A=1"}, .folder = "/srv", .user = "www:www", .terminal = true, .input = true, .columns = 132, .rows = 43}};
  const auto back = decode_request(encode(exec));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->exec.command, exec.exec.command);
  EXPECT_EQ(back->exec.environment, exec.exec.environment);
  EXPECT_EQ(back->exec.folder + back->exec.user, "/srvwww:www");
  EXPECT_TRUE(back->exec.terminal && back->exec.input);
  EXPECT_EQ(back->exec.columns, 132);
  EXPECT_EQ(decode_request(encode({.operation = Operation::get_files, .path = "/etc"}))->path, "/etc");
  EXPECT_EQ(decode_request(encode({.operation = Operation::put_files, .put = {"/srv", "site"}}))->put.name, "site");
  EXPECT_EQ(decode_request(encode({.operation = Operation::set_time, .time_ns = 7}))->time_ns, 7u);
  EXPECT_EQ(decode_request(encode({.operation = Operation::power, .power = Power::reboot}))->power, Power::reboot);
  EXPECT_TRUE(decode_request(encode({.operation = Operation::ping})));
  EXPECT_TRUE(decode_request(encode({.operation = Operation::addresses})));
}

TEST(Protocol, RequestsThatMakeNoSenseAreErrors) {
  auto bytes = encode({.operation = Operation::ping});
  EXPECT_FALSE(decode_request(std::span(bytes).first(bytes.size() - 1)));
  auto more = bytes;
  more.push_back(0);
  EXPECT_FALSE(decode_request(more));
  auto other = bytes;
  other[0] ^= 1;
  EXPECT_FALSE(decode_request(other)) << "magic";
  other = bytes;
  other[4] = 9;
  EXPECT_FALSE(decode_request(other)) << "version";
  other = bytes;
  other[8] = 99;
  EXPECT_FALSE(decode_request(other)) << "operation";
  EXPECT_FALSE(decode_request(encode({.operation = Operation::exec})));
  EXPECT_FALSE(decode_request(encode({.operation = Operation::exec, .exec = {.command = {""}}})));
  EXPECT_FALSE(decode_request(encode({.operation = Operation::exec, .exec = {.command = {std::string("a\0b", 3)}}})));
  EXPECT_FALSE(decode_request(encode({.operation = Operation::exec, .exec = {.command = std::vector<std::string>(5000, "x")}})));
  for (const char* name : {"..", "a/b", "/", "."}) {
    EXPECT_FALSE(decode_request(encode({.operation = Operation::put_files, .put = {"/srv", name}}))) << name;
  }
}

TEST(Protocol, PathsStayInside) {
  for (const char* path : {"", "a", "a/b", "..a", "a..", "a/...", " "}) EXPECT_TRUE(safe_path(path)) << path;
  for (const char* path : {"/", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/..", ".", "./a", "a/."}) EXPECT_FALSE(safe_path(path)) << path;
  EXPECT_FALSE(safe_path(std::string(5000, 'a')));
  EXPECT_FALSE(safe_path(std::string(256, 'a')));
  EXPECT_FALSE(safe_path(std::string_view("a\0b", 3)));
}

TEST(Protocol, Entries) {
  const Entry link{Entry::Type::link, 0777, 1, 2, -5, 999'999'999, 0, "a/b", "/anywhere"};
  const auto back = decode_entry(encode(link));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->target, "/anywhere");
  EXPECT_EQ(back->seconds, -5);
  EXPECT_FALSE(decode_entry(encode(Entry{.path = "../x"})));
  EXPECT_FALSE(decode_entry(encode(Entry{.mode = 0100644})));
  EXPECT_FALSE(decode_entry(encode(Entry{.nanoseconds = 1'000'000'000})));
  EXPECT_FALSE(decode_entry(encode(Entry{.size = ~u64{0}})));
  EXPECT_FALSE(decode_entry(encode(Entry{.type = Entry::Type::link})));
  EXPECT_FALSE(decode_entry(encode(Entry{.target = "x"})));
  EXPECT_FALSE(decode_entry(encode(Entry{.type = static_cast<Entry::Type>(3)})));
}

TEST(Protocol, SmallPayloads) {
  EXPECT_EQ(decode_window(encode(Window{Stream::errors, 5}))->bytes, 5u);
  EXPECT_FALSE(decode_window(encode(Window{Stream::errors, stream_window + 1})));
  EXPECT_FALSE(decode_window(encode(Window{static_cast<Stream>(3), 1})));
  EXPECT_EQ(decode_resize(encode(Resize{3, 4}))->rows, 4);
  EXPECT_EQ(decode_exited(encode(Exited{true, 9}))->value, 9u);
  EXPECT_FALSE(decode_exited(encode(Exited{false, 256})));
  EXPECT_FALSE(decode_exited(encode(Exited{true, 65})));
  EXPECT_EQ(decode_failure(encode(Failure{2, "no"}))->code, 2);
  EXPECT_EQ(decode_texts(encode(std::vector<std::string>{"a", "b"}))->size(), 2u);
  EXPECT_FALSE(decode_texts(std::vector<u8>{255, 255, 255, 255}));
}

}  // namespace
}  // namespace nagaya::agent
