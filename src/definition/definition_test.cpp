#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "definition/container.hpp"
#include "definition/document.hpp"
#include "definition/machine.hpp"
#include "definition/objects.hpp"
#include "definition/plan.hpp"
#include "proto/schema.hpp"

namespace nagaya::definition {
namespace {

using testing::HasSubstr;

std::string refusal(std::string_view text) {
  const auto read = read_documents(text, "test");
  return read ? "" : read.error().message();
}

TEST(Yaml, ReadsTheCoreSchema) {
  const auto read = read_yaml("a: no\nb: true\nc: 0x10\nd: -5\ne: 1.5\nf: '7'\ng: 22:22\nh: ~\ni: 18446744073709551615\nj: !!str 9\n---\n- {x: 1}\n- {y: [2, three]}\n");
  ASSERT_TRUE(read) << read.error().message();
  ASSERT_EQ(read->size(), 3u);
  EXPECT_EQ((*read)[0], Json::parse(R"({"a":"no","b":true,"c":16,"d":-5,"e":1.5,"f":"7","g":"22:22","h":null,"i":18446744073709551615,"j":"9"})"));
  EXPECT_EQ((*read)[2], Json::parse(R"({"y":[2,"three"]})"));
  EXPECT_EQ(*read_yaml(R"({"json": ["a\u00e4", 1]})"), std::vector<Json>{Json::parse(R"({"json": ["a\u00e4", 1]})")});
}

TEST(Yaml, AliasesAreFollowedAndCounted) {
  EXPECT_EQ(*read_yaml("a: &x [1, 2]\nb: *x\n"), std::vector<Json>{Json::parse(R"({"a":[1,2],"b":[1,2]})")});
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    bomb += fmt::format("a{0}: &a{0} [", i);
    for (int j = 0; j < 10; ++j) bomb += fmt::format("{}*a{}", j == 0 ? "" : ", ", i - 1);
    bomb += "]\n";
  }
  const auto read = read_yaml(bomb);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message(), HasSubstr("100000 values"));
  std::string long_one = "a: &a " + std::string(MiB, 'x') + "\nb: [";
  for (int i = 0; i < 40; ++i) long_one += "*a , ";
  EXPECT_THAT(read_yaml(long_one + "]\n").error().message(), HasSubstr("16 MiB"));
}

TEST(Yaml, RefusesWhatIsOutOfBounds) {
  EXPECT_FALSE(read_yaml(std::string(longest_text + 1, ' ')));
  EXPECT_FALSE(read_yaml(std::string(100'000, '[')));
  EXPECT_FALSE(read_yaml(std::string(40, '[') + std::string(40, ']')));
  std::string nested;
  for (int i = 0; i < 2000; ++i) nested += std::string(static_cast<std::size_t>(i), ' ') + "- \n";
  EXPECT_FALSE(read_yaml(nested));
  for (const char* text : {"a: 1\na: 2\n", "? [1]\n: 2\n", "a: !!python/object x\n", "a: *none\n", "a: &x [*x]\n", "a: \xff\n", "1: 2\n", "a: [", "\t- x: \"\n"}) {
    EXPECT_FALSE(read_yaml(text)) << text;
  }
  EXPECT_FALSE(read_yaml(std::string("a: \0b\n", 6)));
}

TEST(Yaml, IsWrittenSoThatItReadsTheSame) {
  const Json value = Json::parse(R"({"kind":"vm","a":["x: y","- z","no","1","0x1","","#c"," lead","a\nb","ä\"\\","null","on"],"b":{"c":[{"d":1,"e":[[],{}]},{"f":null}]},"g":1.5,"h":true,"y":{}})");
  const auto read = read_yaml(write_yaml(value));
  ASSERT_TRUE(read) << write_yaml(value);
  EXPECT_EQ((*read)[0], value) << write_yaml(value);
}

TEST(Documents, SchemaIsUnderstoodByTheValidator) {
  const Json root = Json::parse(schema_text());
  for (const auto& [name, schema] : root.at("$defs").items()) {
    const auto ok = proto::check_schema(root, schema, name);
    EXPECT_TRUE(ok) << ok.error().message();
  }
}

TEST(Documents, EachFieldIsDescribed) {
  const Json root = Json::parse(schema_text());
  const std::function<void(const Json&, const std::string&)> look = [&](const Json& schema, const std::string& where) {
    EXPECT_TRUE(proto::resolve(root, schema).contains("description")) << where;
    if (!schema.contains("properties")) return;
    for (const auto& [name, inner] : schema["properties"].items()) {
      look(inner, where + "." + name);
      if (inner.contains("items") && inner["items"].contains("properties")) look(inner["items"], where + "." + name + "[]");
    }
  };
  for (const auto& [name, schema] : root.at("$defs").items()) look(schema, name);
}

TEST(Documents, SayWhereTheyAreWrong) {
  EXPECT_THAT(refusal("kind: container\nname: a\nimage: b\n---\nkind: vm\nname: c\nimage: d\nlimits: {memroy: 1G}\n"),
              testing::AllOf(HasSubstr("document 2 ('c')"), HasSubstr("limits.memroy"), HasSubstr("did you mean 'memory'?")));
  EXPECT_THAT(refusal("name: a\n"), HasSubstr("kind"));
  EXPECT_THAT(refusal("kind: pod\nname: a\n"), HasSubstr("container, vm, network, volume"));
  EXPECT_THAT(refusal("kind: container\nname: a\n"), HasSubstr("image: it is missing"));
  EXPECT_THAT(refusal("kind: container\nname: ../a\nimage: b\n"), HasSubstr("name"));
  EXPECT_THAT(refusal("kind: container\nname: a\nimage: b\nengine: kvm\n"), HasSubstr("engine"));
  EXPECT_THAT(refusal("kind: vm\nname: a\nimage: b\nhardware: {disks: [{path: /x, fromat: raw}]}\n"), HasSubstr("hardware.disks[0].fromat"));
  EXPECT_THAT(refusal("kind: vm\nname: a\nimage: b\nlimits: {memory: 99999T}\n"), HasSubstr("limits.memory"));
  EXPECT_THAT(refusal("kind: vm\nname: a\nimage: b\n---\nkind: container\nname: a\nimage: b\n"), HasSubstr("twice"));
  EXPECT_THAT(refusal("just a word\n"), HasSubstr("must be an object"));
}

TEST(Documents, ComeInTheOrderTheyAreApplied) {
  const auto read = read_documents("kind: vm\nname: z\nimage: d\nlimits: {memory: 512M}\n---\nkind: volume\nname: v\n---\nkind: container\nname: a\nimage: d\n---\nkind: network\nname: n\n", "test");
  ASSERT_TRUE(read) << read.error().message();
  std::string order;
  for (const Json& one : *read) order += title(one) + " ";
  EXPECT_EQ(order, "network/n volume/v vm/z container/a ");
  EXPECT_EQ((*read)[2]["limits"]["memory"], 512 * MiB);
}

// Every field with a value of its own: what is exported makes the same again.
const char* const whole_container = R"(
kind: container
name: all
project: mine
image: base
command: [a, b]
entrypoint: [/bin/c]
env: [A=1]
workdir: /w
user: me
hostname: h
limits: {memory: 64M, memoryReservation: 32M, memorySwap: -1, cpus: 1.5, cpuWeight: 77, cpuset: 0-1, numaNodes: "0", pids: 12, ioWeight: 496,
         deviceReadBps: ["/dev/none:5"], deviceWriteIops: ["/dev/none:6"]}
labels: {k: v}
networks: [lab]
publish: ["8080:80"]
volumes: ["data:/d:ro", "/tmp:/t:noexec", /own]
restart: {policy: on-failure, retries: 3}
health: {test: [CMD, "true"], intervalMs: 5000, timeoutMs: 4000, startPeriodMs: 3000, retries: 2}
autostart: true
terminal: true
interactive: false
system: true
reaper: false
stopSignal: INT
stopTimeout: 3
readOnly: true
privileged: true
shmSize: 1M
ulimits: [nofile=10]
sysctls: [net.ipv4.ip_forward=1]
capAdd: [NET_ADMIN]
capDrop: [ALL]
security: [no-new-privileges]
storageDriver: vfs
userns: host
pid: private
ipc: host
uts: host
cgroupns: host
devices: [/dev/null]
tmpfs: [/x]
publishAll: true
dns: [10.0.0.1]
addHosts: ["a:10.0.0.2"]
)";

TEST(Documents, ContainersComeBackAsTheyWere) {
  const auto read = read_documents(whole_container, "test");
  ASSERT_TRUE(read) << read.error().message();
  const Json root = Json::parse(schema_text());
  for (const auto& [field, unused] : root["$defs"]["Container"]["properties"].items()) EXPECT_TRUE((*read)[0].contains(field) || field == "remove") << field;
  const auto made = container_definition_of((*read)[0], "id");
  ASSERT_TRUE(made) << made.error().message();
  Json out = container_document(*made);
  ASSERT_TRUE(check(out)) << out.dump(2);
  for (const Change& change : differences((*read)[0], out)) ADD_FAILURE() << change.field << " " << change.from << " " << change.to;
  const auto again = container_definition_of(out, "id");
  ASSERT_TRUE(again);
  EXPECT_TRUE(*again == *made);
}

const char* const whole_machine = R"(
kind: vm
name: all
project: mine
image: base
command: [a]
entrypoint: [/bin/c]
env: [A=1]
workdir: /w
user: me
hostname: h
limits: {memory: 64M, cpus: 1.5, cpuWeight: 77, pids: 100}
labels: {k: v}
networks: [lab]
publish: ["8080:80"]
volumes: ["/tmp:/t:ro"]
restart: {policy: on-failure, retries: 3}
autostart: true
engine: soft
cpu: common
numaNode: 0
diskSize: 2G
userData: "#cloud-config"
append: quiet
sshKeys: [ssh-ed25519 AAAA me]
hardware:
  serial: [{type: "null"}]
  debugConsole: {type: stdout}
  debugExit: true
  testdev: true
  rng: true
  disks: [{path: /d, format: qcow2, readOnly: true, serial: s1, backing: [/b], io: threads, ring: split, iops: 10, iopsBurst: 20, bps: 30, bpsBurst: 40}]
  fwCfg: [{name: opt/x, string: y}]
  nets: [{tap: t0, mac: "52:54:00:00:00:01", mtu: 1500, queues: 2, rateIn: 5, rateOut: 6}]
  consoles: [{type: file, path: /c, name: n, terminal: false}]
  vsock: {cid: 7, path: /v}
  shares: [{tag: t, path: /s, readOnly: true}]
  pmems: [{path: /p, readOnly: false}]
  balloon: {deflateOnOom: false, freePageReporting: true}
)";

TEST(Documents, MachinesComeBackAsTheyWere) {
  const auto read = read_documents(whole_machine, "test");
  ASSERT_TRUE(read) << read.error().message();
  const Json root = Json::parse(schema_text());
  for (const auto& [field, unused] : root["$defs"]["Machine"]["properties"].items()) EXPECT_TRUE((*read)[0].contains(field)) << field;
  for (const auto& [field, unused] : root["$defs"]["Hardware"]["properties"].items()) EXPECT_TRUE((*read)[0]["hardware"].contains(field)) << field;
  const auto made = machine_spec_of((*read)[0], "id");
  ASSERT_TRUE(made) << made.error().message();
  const auto policy = machine_policy_of((*read)[0]);
  ASSERT_TRUE(policy) << policy.error().message();
  Json out = machine_document(*made, {.project = "mine", .labels = {{"k", "v"}}}, *policy);
  ASSERT_TRUE(check(out)) << out.dump(2);
  for (const Change& change : differences((*read)[0], out)) ADD_FAILURE() << change.field << " " << change.from << " " << change.to;
}

TEST(Documents, NetworksComeBackAsTheyWere) {
  const Json document = Json::parse(R"({"kind":"network","name":"n","driver":"user","subnet":"10.9.0.0/24","mtu":1400,"internal":true,"hostLoopback":false,"ip6":false})");
  const auto made = network_of(document, {});
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(network_document(*made), document);
  EXPECT_FALSE(network_of(Json::parse(R"({"kind":"network","name":"n","driver":"isolated","subnet":"10.9.0.0/24"})"), {}));
}

TEST(Plan, NamesWhatDiffersAndWhatThatNeeds) {
  const auto changes = differences(Json::parse(R"({"a":1,"limits":{"memory":1,"pids":2},"c":3})"), Json::parse(R"({"a":1,"limits":{"memory":2},"b":[1]})"));
  std::string fields;
  for (const Change& change : changes) fields += change.field + " ";
  EXPECT_EQ(fields, "b c limits.memory limits.pids ");
  EXPECT_STREQ((Plan{}.action()), "create");
  EXPECT_STREQ((Plan{.exists = true}.action()), "none");
  EXPECT_STREQ((Plan{.exists = true, .changes = {{"a", 1, 2, Need::nothing}, {"b", 1, 2, Need::restart}}}.action()), "restart");
}

}  // namespace
}  // namespace nagaya::definition
