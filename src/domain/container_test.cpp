#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "container/spec/parse.hpp"
#include "domain/container_definition.hpp"
#include "domain/container_health.hpp"
#include "domain/container_move.hpp"
#include "domain/container_spec.hpp"

namespace nagaya::domain {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

ContainerDefinition plain() { return {.name = "web", .image = "abc", .image_name = "busybox"}; }
ContainerPlaces places() { return {.rootfs = "/root/fs", .cgroup = "/nagaya/web", .volumes = {}}; }

TEST(ContainerDefinition, IsReadAsItWasWritten) {
  ContainerDefinition one = plain();
  one.entrypoint = std::vector<std::string>{"/bin/sh"};
  one.labels = {{"a", "b"}};
  one.restart = {RestartPolicy::When::on_failure, 3};
  one.limits = {.memory = 64 * MiB, .memory_swap = -1, .cpu_thousandths = 1500, .pids = -1};
  one.volumes = {{.source = "data", .target = "/data", .read_only = true, .options = {"noexec"}}};
  one.publish = {"8080:80"};
  const auto again = ContainerDefinition::from_json(one.to_json());
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(*again, one);
}

TEST(Health, WhoeverMakesItHasTheLastWord) {
  ContainerDefinition definition = plain();
  image::OciConfig image;
  EXPECT_FALSE(health_check_of(definition, image));
  image.health = {.test = {"CMD", "/check", "it"}, .interval_ms = 5, .retries = 7};
  auto check = health_check_of(definition, image);
  ASSERT_TRUE(check);
  EXPECT_THAT(health_command(*check), ElementsAre("/check", "it"));
  EXPECT_EQ(check->interval_ms, 5u);
  EXPECT_EQ(check->timeout_ms, 30'000u);
  EXPECT_EQ(check->retries, 7u);
  definition.health = {.test = {"CMD-SHELL", "a b"}, .retries = 2};
  check = health_check_of(definition, image);
  ASSERT_TRUE(check);
  EXPECT_THAT(health_command(*check), ElementsAre("/bin/sh", "-c", "a b"));
  EXPECT_EQ(check->interval_ms, 5u);
  EXPECT_EQ(check->retries, 2u);
  const auto again = ContainerDefinition::from_json(definition.to_json());
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->health, definition.health);
  definition.health = {.test = {"NONE"}};
  EXPECT_FALSE(health_check_of(definition, image));
  // An image may say what it likes: nonsense is not run.
  image.health = {.test = {"CMD-SHELL"}};
  EXPECT_FALSE(health_check_of(plain(), image));
  definition.health = {.test = {"CMD"}};
  EXPECT_FALSE(definition.validate());
}

TEST(Health, FailuresInARowCount) {
  using State = HealthCount::State;
  HealthCount count({.test = {"CMD", "x"}, .start_period_ms = 100, .retries = 2});
  count.answer(false, 50);
  count.answer(false, 99);
  EXPECT_EQ(count.failures(), 0u);
  EXPECT_EQ(count.state(), State::starting);
  count.answer(false, 100);
  EXPECT_EQ(count.state(), State::starting);
  count.answer(true, 110);
  EXPECT_EQ(count.state(), State::healthy);
  count.answer(false, 120);
  EXPECT_EQ(count.state(), State::healthy);
  count.answer(false, 130);
  EXPECT_EQ(count.state(), State::unhealthy);
  count.answer(true, 140);
  EXPECT_EQ(count.state(), State::healthy);
  // Once it was well, it is expected to be, also early.
  HealthCount early({.test = {"CMD", "x"}, .start_period_ms = 100, .retries = 1});
  early.answer(true, 10);
  early.answer(false, 20);
  EXPECT_EQ(early.state(), State::unhealthy);
}

TEST(Arrival, IsReadAsItWasWrittenAndNotOtherwise) {
  const std::string said = write_arrival({.definition = plain(), .address = "10.77.0.2/24", .connections = true, .layers = {"aa"}});
  const auto again = read_arrival(said);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->address, "10.77.0.2/24");
  EXPECT_TRUE(again->connections);
  EXPECT_THAT(again->layers, ElementsAre("aa"));
  const auto with = [&](std::string_view old, std::string_view wrong) {
    std::string text = said;
    text.replace(text.find(old), old.size(), wrong);
    const auto read = read_arrival(text);
    return read ? std::string() : read.error().message();
  };
  EXPECT_THAT(with("10.77.0.2", "10.77.0.2.9; rm"), HasSubstr("its address is malformed"));
  EXPECT_THAT(with("\"10.77.0.2/24\"", "[1]"), HasSubstr("its address is malformed"));
  EXPECT_THAT(with("\"connections\":true", "\"connections\":7"), HasSubstr("connections"));
  EXPECT_THAT(with("[\"aa\"]", "[1]"), HasSubstr("layers"));
}

std::string refused(ContainerDefinition definition) {
  const auto done = definition.validate();
  return done ? "" : done.error().message();
}

TEST(ContainerDefinition, RefusesWhatCouldNotRun) {
  EXPECT_EQ(refused(plain()), "");
  const auto with = [](auto change) {
    ContainerDefinition out = plain();
    change(out);
    return refused(out);
  };
  EXPECT_THAT(with([](auto& d) { d.name = "../x"; }), HasSubstr("name"));
  EXPECT_THAT(with([](auto& d) { d.limits.memory = 100; }), HasSubstr("512 KiB"));
  EXPECT_THAT(with([](auto& d) { d.limits.memory = MiB; d.limits.memory_swap = 5; }), HasSubstr("together"));
  EXPECT_THAT(with([](auto& d) { d.workdir = "x"; }), HasSubstr("absolute"));
  EXPECT_THAT(with([](auto& d) { d.env = {"novalue"}; }), HasSubstr("NAME=VALUE"));
  EXPECT_THAT(with([](auto& d) { d.publish = {"x"}; }), Not(""));
  EXPECT_THAT(with([](auto& d) { d.volumes = {{.source = "/a", .target = "/"}}; }), HasSubstr("'/'"));
  EXPECT_THAT(with([](auto& d) { d.add_hosts = {"a:1\n2.2.2.2 bank"}; }), HasSubstr("NAME:ADDRESS"));
  EXPECT_THAT(with([](auto& d) { d.hostname = "a\nb"; }), HasSubstr("host name"));
  EXPECT_FALSE(ContainerDefinition::from_json(R"({"name":"a","image":"b","more":1})"));
}

TEST(ContainerDefinition, NamespacesOfOthersHaveTheirOwnRules) {
  ContainerDefinition joining;
  joining.name = "a";
  joining.image = "i";
  joining.pid = joining.ipc = joining.uts = "container:b";
  joining.networks = {"container:b"};
  EXPECT_TRUE(joining.validate());
  for (const auto& spoil : std::initializer_list<void (*)(ContainerDefinition&)>{
           [](auto& d) { d.pid = "container:"; }, [](auto& d) { d.ipc = "container:../b"; }, [](auto& d) { d.networks = {"container:-b"}; }, [](auto& d) { d.cgroupns = "container:b"; },
           [](auto& d) { d.publish = {"80:80"}; }, [](auto& d) { d.dns = {"10.0.0.1"}; }, [](auto& d) { d.networks.emplace_back("other"); }, [](auto& d) { d.userns = "auto"; }}) {
    ContainerDefinition other = joining;
    spoil(other);
    EXPECT_FALSE(other.validate()) << other.to_json();
  }
}

TEST(ParseVolume, KnowsPathsNamesAndOptions) {
  const auto path = parse_volume("/a:/b:ro,noexec");
  ASSERT_TRUE(path);
  EXPECT_EQ(*path, (ContainerVolume{"/a", "/b", true, {"noexec"}}));
  EXPECT_EQ(parse_volume("data:/b")->source, "data");
  EXPECT_EQ(parse_volume("/b")->source, "");
  EXPECT_EQ(parse_volume("./x:/b")->source, (fs::current_path() / "x").string());
  for (const char* bad : {"a:b", "/a:/", ":/b", "/a:/b:huh", "/a:/b:ro:x", "-x:/b"}) EXPECT_FALSE(parse_volume(bad)) << bad;
}

TEST(ContainerArgs, JoinEntryPointAndCommandAsTheImageSays) {
  const image::OciConfig image{.entrypoint = {"/entry"}, .cmd = {"default"}};
  ContainerDefinition definition = plain();
  EXPECT_THAT(*container_args(definition, image), ElementsAre("/entry", "default"));
  definition.command = {"mine"};
  EXPECT_THAT(*container_args(definition, image), ElementsAre("/entry", "mine"));
  definition.entrypoint = std::vector<std::string>{"sh", "-c"};
  definition.command.clear();
  EXPECT_THAT(*container_args(definition, image), ElementsAre("sh", "-c"));
  EXPECT_FALSE(container_args(plain(), {}));
  definition = plain();
  definition.system = true;
  EXPECT_THAT(*container_args(definition, image), ElementsAre("/sbin/init"));
}

TEST(ContainerEnv, LaterValuesReplaceEarlier) {
  ContainerDefinition definition = plain();
  definition.env = {"PATH=/mine", "X=1"};
  const auto env = container_env(definition, {.env = {"PATH=/image", "Y=2"}}, {.home = "/home/u"});
  EXPECT_THAT(env, Contains("PATH=/mine"));
  EXPECT_THAT(env, Contains("Y=2"));
  EXPECT_THAT(env, Contains("HOME=/home/u"));
  EXPECT_EQ(std::ranges::count_if(env, [](const auto& pair) { return pair.starts_with("PATH="); }), 1);
}

TEST(ContainerSpec, IsWhatARuntimeReads) {
  ContainerDefinition definition = plain();
  definition.command = {"true"};
  definition.cap_drop = {"ALL"};
  definition.cap_add = {"net_admin"};
  definition.devices = {"/dev/null:/dev/nothing:r"};
  definition.ulimits = {"nofile=10:20", "core=-1"};
  definition.read_only = true;
  ContainerPlaces where = places();
  where.volumes = {{"/srv/deep", "/dev/shm/x", true, {}}, {"/srv", "/dev/shm", false, {}}};
  const auto spec = container_spec(definition, {}, {.uid = 0}, where);
  ASSERT_TRUE(spec) << spec.error().message();
  const auto again = container::parse_spec(container::write_spec(*spec));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_THAT(again->process->capabilities->effective, ElementsAre("CAP_NET_ADMIN"));
  EXPECT_EQ(again->process->rlimits[1].soft, ~u64{0});
  EXPECT_EQ(again->linux.devices[0].path, "/dev/nothing");
  EXPECT_TRUE(again->root_readonly);
  EXPECT_TRUE(again->linux.seccomp);
  // The volume took the place of the usual mount, and the inner one comes after it.
  std::vector<std::string> shm;
  for (const auto& mount : again->mounts) {
    if (mount.destination.starts_with("/dev/shm")) shm.push_back(mount.source);
  }
  EXPECT_THAT(shm, ElementsAre("/srv", "/srv/deep"));
}

TEST(ContainerSpec, OtherUsersHaveNoCapabilitiesAtHand) {
  ContainerDefinition definition = plain();
  definition.command = {"true"};
  const auto spec = container_spec(definition, {}, {.uid = 7}, places());
  ASSERT_TRUE(spec);
  EXPECT_TRUE(spec->process->capabilities->effective.empty());
  EXPECT_FALSE(spec->process->capabilities->bounding.empty());
}

TEST(ContainerSpec, SaysWhichWordIsWrong) {
  const auto with = [](auto change) {
    ContainerDefinition definition = plain();
    definition.command = {"true"};
    change(definition);
    const auto spec = container_spec(definition, {}, {}, places());
    return spec ? std::string() : spec.error().message();
  };
  EXPECT_THAT(with([](auto& d) { d.cap_add = {"FLY"}; }), HasSubstr("FLY"));
  EXPECT_THAT(with([](auto& d) { d.devices = {"/not/there"}; }), HasSubstr("/not/there"));
  EXPECT_THAT(with([](auto& d) { d.ulimits = {"nofile"}; }), HasSubstr("nofile"));
  EXPECT_THAT(with([](auto& d) { d.security = {"magic"}; }), HasSubstr("magic"));
  EXPECT_THAT(with([](auto& d) { d.sysctls = {"=x"}; }), HasSubstr("NAME=VALUE"));
  EXPECT_THAT(with([](auto& d) { d.limits.read_bps = {"/dev/null:5"}; }), HasSubstr("block device"));
}

TEST(ResolveUser, ReadsTheImagesFilesAndNoOthers) {
  std::string root = (fs::temp_directory_path() / "user-test-XXXXXX").string();
  ASSERT_NE(::mkdtemp(root.data()), nullptr);
  fs::create_directories(root + "/etc");
  std::ofstream(root + "/etc/real") << "root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n";
  fs::create_symlink("/etc/real", root + "/etc/passwd");
  fs::create_symlink("/../../../../../../etc/group", root + "/etc/group");
  const auto alice = resolve_user(root, "alice");
  ASSERT_TRUE(alice) << alice.error().message();
  EXPECT_EQ(alice->uid, 1000u);
  EXPECT_EQ(alice->gid, 1001u);
  EXPECT_EQ(alice->home, "/home/alice");
  EXPECT_EQ(resolve_user(root, "12:34")->gid, 34u);
  EXPECT_FALSE(resolve_user(root, "nobody"));
  fs::remove_all(root);
}

TEST(HostsFile, NamesItself) {
  EXPECT_THAT(hosts_file("web", "10.0.2.15/24", {"db:10.1.1.1"}), HasSubstr("10.1.1.1\tdb\n"));
  EXPECT_THAT(hosts_file("web", "10.0.2.15/24", {}), HasSubstr("10.0.2.15\tweb\n"));
  EXPECT_EQ(resolv_conf_file({"1.1.1.1"}), "nameserver 1.1.1.1\n");
}

}  // namespace
}  // namespace nagaya::domain
