#include <gtest/gtest.h>

#include <algorithm>

#include "init/command_line.hpp"
#include "init/dhcp.hpp"
#include "init/modules.hpp"
#include "init/service.hpp"
#include "init/user.hpp"
#include "proto/init_config.hpp"

namespace nagaya::init {
namespace {

TEST(CommandLine, LaterWordsWinAndQuotesHold) {
  const RootOptions out = root_options("quiet root=/dev/vdb rootflags=\"a,b c\" ro rootfstype=xfs rw init=/bin/sh x=root=/dev/vdz\n");
  EXPECT_EQ(out.device, "/dev/vdb");
  EXPECT_EQ(out.flags, "a,b c");
  EXPECT_EQ(out.type, "xfs");
  EXPECT_EQ(out.program, "/bin/sh");
  EXPECT_FALSE(out.read_only);
  EXPECT_EQ(root_options("root=").device, "/dev/vda");
}

TEST(ModuleList, Lines) {
  const ModuleList list = parse_module_list("virtio_blk ring.ko  virtio.ko blk.ko\n\nbuiltin\nlast a.ko");
  EXPECT_EQ(list.size(), 3u);
  EXPECT_EQ(list.at("virtio_blk"), (std::vector<std::string>{"ring.ko", "virtio.ko", "blk.ko"}));
  EXPECT_TRUE(list.at("builtin").empty());
  EXPECT_EQ(list.at("last"), std::vector<std::string>{"a.ko"});
}

const std::array<u8, 6> mac{0x52, 0x54, 0, 1, 2, 3};

std::vector<u8> answer(std::vector<u8> options) {
  std::vector<u8> out = dhcp_message(DhcpKind::discover, 7, mac, {}, "");
  out.resize(240);
  out[0] = 2;
  out[16] = 10, out[17] = 0, out[18] = 2, out[19] = 15;
  out.insert(out.end(), options.begin(), options.end());
  return out;
}

TEST(Dhcp, AnswersAreChecked) {
  const auto good = answer({53, 1, 2, 1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 2, 2, 0, 6, 8, 10, 0, 2, 3, 1, 1, 1, 1, 54, 4, 10, 0, 2, 2, 15, 3, 'l', 'a', 'n', 255});
  const auto parsed = parse_dhcp(good, 7, mac);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->first, DhcpKind::offer);
  EXPECT_EQ(parsed->second.address, 0x0a00020fu);
  EXPECT_EQ(parsed->second.mask, 0xffffff00u);
  EXPECT_EQ(parsed->second.router, 0x0a000202u);
  EXPECT_EQ(parsed->second.dns, (std::vector<u32>{0x0a000203, 0x01010101}));
  EXPECT_EQ(parsed->second.domain, "lan");
  EXPECT_FALSE(parse_dhcp(good, 8, mac));
  EXPECT_FALSE(parse_dhcp(good, 7, {1, 2, 3, 4, 5, 6}));
  // Every cut either parses or does not; nothing is read beyond it.
  for (std::size_t cut = 0; cut < good.size(); ++cut) {
    const std::vector<u8> part(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(cut));
    (void)parse_dhcp(part, 7, mac);
  }
  EXPECT_FALSE(parse_dhcp(answer({53, 200, 2}), 7, mac));
  EXPECT_FALSE(parse_dhcp(answer({53, 1, 9, 255}), 7, mac));
  const auto hostile = parse_dhcp(answer({53, 1, 2, 15, 8, 'a', '\n', 'n', 'a', 'm', 'e', 's', ' ', 255}), 7, mac);
  ASSERT_TRUE(hostile);
  EXPECT_EQ(hostile->second.domain, "");
}

TEST(Dhcp, RequestNamesWhatWasOffered) {
  const auto message = dhcp_message(DhcpKind::request, 1, mac, {.address = 0x0a00020f, .server = 0x0a000202}, "web");
  const std::vector<u8> wanted{50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2};
  EXPECT_FALSE(std::ranges::search(message, wanted).empty());
  EXPECT_GE(message.size(), 300u);
}

TEST(User, NamesBeforeNumbers) {
  const std::string passwd = "root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n33:x:77:78::/odd:\nbroken\n";
  const std::string group = "root:x:0:\nweb:x:1001:\nextra:x:2000:other,web\n";
  EXPECT_EQ(*identity_of("", passwd, group), (Identity{.uid = 0, .gid = 0, .groups = {}, .home = "/root"}));
  EXPECT_EQ(*identity_of("web", passwd, group), (Identity{.uid = 1000, .gid = 1001, .groups = {2000}, .home = "/home/web"}));
  EXPECT_EQ(*identity_of("1000", passwd, group), (Identity{.uid = 1000, .gid = 1001, .groups = {2000}, .home = "/home/web"}));
  EXPECT_EQ(identity_of("33", passwd, group)->uid, 77u);
  EXPECT_EQ(*identity_of("4000", passwd, group), (Identity{.uid = 4000}));
  EXPECT_EQ(*identity_of("web:extra", passwd, group), (Identity{.uid = 1000, .gid = 2000, .groups = {}, .home = "/home/web"}));
  EXPECT_EQ(identity_of("web:5", passwd, group)->gid, 5u);
  EXPECT_FALSE(identity_of("nobody", passwd, group));
  EXPECT_FALSE(identity_of("web:nogroup", passwd, group));
  EXPECT_FALSE(identity_of("4294967295", passwd, group));
  EXPECT_FALSE(identity_of("-1", passwd, group));
}

TEST(InitConfig, RoundTripAndNonsense) {
  const proto::InitConfig config{.hostname = "h", .args = {"/bin/sh", "-c", "echo \"x\"\n"}, .env = {"A=b c"}, .workdir = "/w", .user = "u", .stop_signal = "SIGINT",
                                 .mounts = {{"t", "/m", true}}, .terminal = true, .network = false};
  EXPECT_EQ(*proto::InitConfig::from_json(config.to_json()), config);
  EXPECT_FALSE(proto::InitConfig::from_json(R"({"args":[]})"));
  EXPECT_FALSE(proto::InitConfig::from_json(R"({"args":["a"],"env":["=x"]})"));
  EXPECT_FALSE(proto::InitConfig::from_json(R"({"args":["a"],"workdir":"x"})"));
  EXPECT_FALSE(proto::InitConfig::from_json(R"({"args":["a"],"what":1})"));
}

TEST(InitStatus, IsReadWithCare) {
  EXPECT_EQ(proto::parse_init_status("exit 7\n")->code, 7);
  EXPECT_EQ(proto::parse_init_status("error 127 no\x1b[31m such\n")->error, "no?[31m such");
  for (const char* bad : {"", "exit", "exit \n", "exit 256\n", "exit -1\n", "exit 1x\n", "else 1\n"}) EXPECT_FALSE(proto::parse_init_status(bad)) << bad;
}

}  // namespace
}  // namespace nagaya::init
