#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "definition/document.hpp"
#include "definition/libvirt/read.hpp"
#include "definition/libvirt/units.hpp"
#include "definition/libvirt/write.hpp"
#include "definition/libvirt/xml.hpp"
#include "definition/machine.hpp"
#include "definition/plan.hpp"

namespace nagaya::definition::libvirt {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string refusal(const std::string& xml) {
  const auto read = read_domain(xml, "debian");
  return read ? "" : read.error().message();
}

Imported imported(const std::string& xml) {
  auto read = read_domain(xml, "debian");
  EXPECT_TRUE(read) << read.error().message() << "\n" << xml;
  return read ? std::move(*read) : Imported{};
}

/// A domain that lacks nothing, with more in it and in its devices.
std::string domain(const std::string& more, const std::string& devices = "") {
  return "<domain type='kvm'><name>m</name><memory unit='MiB'>512</memory>" + more + "<devices>" + devices + "</devices></domain>";
}

// ---- What tools write. ----

// As virt-install does for a Debian guest.
const char* const installed = R"(<domain type="kvm">
  <name>web</name>
  <uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid>
  <metadata>
    <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0"><libosinfo:os id="http://debian.org/debian/12"/></libosinfo:libosinfo>
  </metadata>
  <memory>2097152</memory>
  <currentMemory>2097152</currentMemory>
  <vcpu>2</vcpu>
  <os><type arch="x86_64" machine="q35">hvm</type><boot dev="hd"/></os>
  <features><acpi/><apic/><vmport state="off"/></features>
  <cpu mode="host-passthrough"/>
  <clock offset="utc">
    <timer name="rtc" tickpolicy="catchup"/>
    <timer name="hpet" present="no"/>
  </clock>
  <pm><suspend-to-mem enabled="no"/><suspend-to-disk enabled="no"/></pm>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2" discard="unmap"/>
      <source file="/var/lib/libvirt/images/web.qcow2"/>
      <target dev="vda" bus="virtio"/>
    </disk>
    <controller type="usb" model="qemu-xhci" ports="15"/>
    <controller type="pci" model="pcie-root"/>
    <controller type="pci" model="pcie-root-port"/>
    <interface type="network">
      <source network="default"/>
      <mac address="52:54:00:AA:bb:cc"/>
      <model type="virtio"/>
    </interface>
    <console type="pty"/>
    <channel type="unix"><source mode="bind"/><target type="virtio" name="org.qemu.guest_agent.0"/></channel>
    <input type="tablet" bus="usb"/>
    <graphics type="vnc" port="-1"/>
    <video><model type="virtio"/></video>
    <redirdev bus="usb" type="spicevmc"/>
    <redirdev bus="usb" type="spicevmc"/>
    <memballoon model="virtio"/>
    <rng model="virtio"><backend model="random">/dev/urandom</backend></rng>
  </devices>
</domain>)";

TEST(Read, TakesWhatToolsWriteAndTellsTheRest) {
  const Imported read = imported(installed);
  EXPECT_EQ(read.document, Json::parse(R"({"kind":"vm","name":"web","image":"debian","engine":"auto","cpu":"host","limits":{"memory":2147483648,"cpus":2},
    "networks":["default,mac=52:54:00:aa:bb:cc"],
    "hardware":{"rng":true,"disks":[{"path":"/var/lib/libvirt/images/web.qcow2","format":"qcow2"}]}})"));
  EXPECT_THAT(read.left_out, ElementsAre("uuid", "metadata/libosinfo:libosinfo (another program's)", "os/boot[hd] (the image is started)", "clock/timer[rtc]", "clock/timer[hpet]",
                                         "devices/disk[vda]/target/@dev=vda (it is vdb; vda is the machine's own)", "devices/controller[usb]",
                                         "devices/channel[unix] (without a path of its own, or not listening)", "devices/input[tablet]", "devices/graphics[vnc]", "devices/video",
                                         "devices/redirdev[spicevmc]", "devices/redirdev[spicevmc:2]"));
  EXPECT_TRUE(machine_spec_of(read.document, "id"));
}

// As virsh dumpxml prints a tuned one that runs: addresses, aliases, labels, backing chains.
const char* const running = R"(<?xml version='1.0' encoding='UTF-8'?>
<!-- a comment with <tags> & signs -->
<domain type='qemu' id='7' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>db</name>
  <title>Data base</title>
  <description>Two &lt;lines&gt;
of words</description>
  <memory unit='KiB'>4194304</memory>
  <currentMemory unit='KiB'>2097152</currentMemory>
  <blkiotune>
    <weight>500</weight>
    <device><path>/dev/sda</path><read_iops_sec>20000</read_iops_sec><write_bytes_sec>10000</write_bytes_sec></device>
  </blkiotune>
  <memtune><hard_limit unit='G'>8</hard_limit><soft_limit unit='M'>128</soft_limit><swap_hard_limit unit='KiB'>9007199254740991</swap_hard_limit></memtune>
  <vcpu placement='static' cpuset='1-4,^3,6' current='2'>4</vcpu>
  <cputune>
    <shares>2048</shares>
    <vcpupin vcpu='0' cpuset='1-4,^2'/>
    <vcpupin vcpu='1' cpuset='0,1'/>
    <emulatorpin cpuset='1-2,4,6'/>
    <period>100000</period>
    <quota>75000</quota>
    <iothreadpin iothread='1' cpuset='5'/>
  </cputune>
  <numatune><memory mode='strict' nodeset='0'/></numatune>
  <resource><partition>/machine</partition></resource>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader>
    <kernel>/boot/vmlinuz</kernel><cmdline>console=ttyS0 quiet</cmdline></os>
  <features><acpi/><apic/><pae/><hyperv mode='custom'><relaxed state='on'/></hyperv></features>
  <cpu mode='custom' match='exact' check='partial'><model fallback='allow'>Skylake-Server</model><topology sockets='1' dies='1' cores='2' threads='1'/></cpu>
  <clock offset='localtime'/>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>restart</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk' snapshot='external'>
      <driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap' queues='4'/>
      <source file='/srv/db.qcow2' index='2'/>
      <backingStore type='file' index='3'><format type='qcow2'/><source file='/srv/base.qcow2'/><backingStore type='block'><format type='raw'/><source dev='/dev/vg/base'/><backingStore/></backingStore></backingStore>
      <target dev='vdb' bus='virtio'/>
      <serial>DB-1</serial>
      <iotune><total_iops_sec>1000</total_iops_sec><total_iops_sec_max>5000</total_iops_sec_max><read_bytes_sec>1048576</read_bytes_sec></iotune>
      <alias name='virtio-disk0'/><address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>
    </disk>
    <disk type='block' device='disk'><driver name='qemu' type='raw' io='io_uring'/><source dev='/dev/vg/data'/><target dev='sda' bus='scsi'/><readonly/></disk>
    <disk type='file' device='cdrom'><target dev='sdb' bus='sata'/><readonly/></disk>
    <controller type='virtio-serial' index='0'/><controller type='scsi' index='0' model='virtio-scsi'/>
    <filesystem type='mount' accessmode='passthrough'><driver type='virtiofs' queue='1024'/><binary path='/usr/lib/qemu/virtiofsd'/><source dir='/srv/share'/><target dir='share'/></filesystem>
    <filesystem type='mount' accessmode='mapped'><source dir='/srv/doc'/><target dir='/mnt/doc'/><readonly/></filesystem>
    <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/><target dev='vnet3'/><model type='e1000'/><mtu size='1400'/><filterref filter='clean-traffic'/>
      <bandwidth><inbound average='1000' peak='2000' burst='1024'/><outbound average='500'/></bandwidth><driver name='vhost' queues='4'/></interface>
    <interface type='user'><backend type='passt'/><portForward proto='tcp' address='127.0.0.1'><range start='2222' to='22'/><range start='8000' end='8002'/></portForward></interface>
    <interface type='ethernet'><mac address='52:54:00:00:00:02'/><target dev='tap7' managed='no'/><model type='virtio'/><driver name='vhost' queues='2'/></interface>
    <serial type='pty'><source path='/dev/pts/3'/><target type='isa-serial' port='0'><model name='isa-serial'/></target></serial>
    <serial type='file'><source path='/var/log/db.log'/><target port='1'/></serial>
    <console type='pty' tty='/dev/pts/3'><source path='/dev/pts/3'/><target type='serial' port='0'/></console>
    <channel type='unix'><source mode='bind' path='/run/db.agent'/><target type='virtio' name='org.example.agent' state='connected'/></channel>
    <input type='mouse' bus='ps2'/><input type='keyboard' bus='ps2'/>
    <watchdog model='i6300esb' action='reset'/>
    <memballoon model='virtio' autodeflate='on'><stats period='5'/></memballoon>
    <vsock model='virtio'><cid auto='no' address='3'/></vsock>
  </devices>
  <seclabel type='dynamic' model='apparmor' relabel='yes'/>
  <qemu:commandline><qemu:arg value='-foo'/></qemu:commandline>
</domain>)";

TEST(Read, TakesTuningDisksCardsAndPorts) {
  const Imported read = imported(running);
  EXPECT_EQ(read.document, Json::parse(R"({"kind":"vm","name":"db","image":"debian","engine":"soft","append":"console=ttyS0 quiet",
    "labels":{"title":"Data base","description":"Two <lines>\nof words"},
    "limits":{"memory":4294967296,"cpus":1.5,"cpuWeight":80,"cpuset":"1-2,4,6","numaNodes":"0","ioWeight":4950,"memoryReservation":134217728,
      "deviceReadIops":["/dev/sda:20000"],"deviceWriteBps":["/dev/sda:10000"]},
    "networks":["br0,mac=52:54:00:00:00:01,rate-in=1000000,rate-out=500000,mtu=1400","user"],
    "publish":["127.0.0.1:2222:22","127.0.0.1:8000-8002:8000-8002"],
    "volumes":["/srv/doc:/mnt/doc:ro"],
    "hardware":{
      "disks":[{"path":"/srv/db.qcow2","format":"qcow2","backing":["/srv/base.qcow2","/dev/vg/base"],"serial":"DB-1","iops":1000,"iopsBurst":5000},
               {"path":"/dev/vg/data","format":"raw","io":"io_uring","readOnly":true}],
      "nets":[{"tap":"tap7","mac":"52:54:00:00:00:02","queues":2}],
      "serial":[{"type":"stdio"},{"type":"file","path":"/var/log/db.log"}],
      "consoles":[{"type":"socket","path":"/run/db.agent","name":"org.example.agent","terminal":false}],
      "shares":[{"tag":"share","path":"/srv/share"}],
      "balloon":{"deflateOnOom":true,"freePageReporting":false}}})"))
      << read.document.dump(1);
  EXPECT_THAT(read.left_out, ElementsAre("currentMemory (it starts with all of its memory)", "memtune/hard_limit (the process around a machine gets what it needs)",
                                         "vcpu/@current=2 (none comes later)", "cputune/vcpupin[0] (a machine is pinned as a whole)", "cputune/vcpupin[1] (a machine is pinned as a whole)",
                                         "cputune/iothreadpin", "os/loader", "os/kernel (the image's is started)", "features/hyperv",
                                         "cpu/@mode=custom (its processors are the portable ones)", "cpu/model", "cpu/topology (each processor is one of its own)",
                                         "clock/@offset=localtime", "on_crash ('destroy' is done)",
                                         "devices/disk[vdb]/driver/@cache=none (writes go through the host's page cache, flushes to the disk)",
                                         "devices/disk[vdb]/driver/@io=native (what suits the disk is taken)", "devices/disk[vdb]/driver/@queues=4",
                                         "devices/disk[vdb]/iotune/read_bytes_sec (reads and writes are limited together)", "devices/disk[sda]/target/@bus=scsi (it is a virtio disk, vdc)",
                                         "devices/disk[sdb] (there are no such drives)", "devices/filesystem[mount:2]/@accessmode=mapped (it is virtiofs: the guest mounts it so)",
                                         "devices/interface[bridge]/source/@bridge=br0 (it is on the network 'br0' of 'nagaya network ls')",
                                         "devices/interface[bridge]/model/@type=e1000 (it is a virtio card)", "devices/interface[bridge]/filterref",
                                         "devices/interface[bridge]/bandwidth/inbound/@peak=2000", "devices/interface[bridge]/bandwidth/inbound/@burst=1024",
                                         "devices/interface[bridge]/driver/@queues=4 (one, but for tap devices)", "devices/watchdog[i6300esb]", "devices/memballoon[virtio]/stats",
                                         "devices/vsock[virtio] (each machine has sockets of its own, without a number on the host)", "qemu:commandline"));
  EXPECT_TRUE(machine_spec_of(read.document, "id"));
}

TEST(Read, AsksForAnImageWhereNoneIsNamed) {
  const auto read = read_domain(installed, "");
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message(), AllOf(HasSubstr("os: it says no image"), HasSubstr("--image")));
}

TEST(Read, LeavesNothingOutOfALeastDomain) {
  EXPECT_THAT(imported(domain("")).left_out, IsEmpty());
  EXPECT_EQ(imported(domain("")).document["networks"], Json({"none"}));
}

TEST(Read, TellsWhatIsRoundedAndWhoseDiskItIs) {
  const std::string disk = "<disk type='file'><source file='/a'/><target dev='vdb'/><alias name='ua-nagaya-own-disk'/></disk>";
  EXPECT_EQ(imported(domain("", disk)).document["hardware"]["disks"][0]["path"], "/a");
  EXPECT_THAT(imported("<domain type='kvm'><name>m</name><memory>1000000</memory></domain>").left_out, ElementsAre("memory (rounded down to whole MiB)"));
}

TEST(Read, RefusesWhatWouldBeAnotherGuest) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"<domain type='kvm'><memory>524288</memory></domain>", "domain: it has no name"},
      {"<domain type='kvm'><name>m</name></domain>", "it has no memory"},
      {"<domain type='xen'><name>m</name><memory>524288</memory></domain>", "@type=xen"},
      {"<domain type='lxc'><name>m</name><memory>524288</memory></domain>", "lives in a folder of the host"},
      {"<domain type='kvm'><name>../m</name><memory>524288</memory></domain>", "name: '../m' is no name"},
      {"<domain type='kvm'><name>-rf</name><memory>524288</memory></domain>", "is no name"},
      {"<network><name>m</name></network>", "<network>: it is no domain"},
      {domain("<os><type arch='aarch64'>hvm</type></os>"), "os/type/@arch=aarch64"},
      {domain("<os><type>exe</type></os>"), "os/type: 'exe'"},
      {domain("<vcpu>0</vcpu>"), "vcpu: it must be a number from 1 to 255"},
      {domain("<vcpu>4294967297</vcpu>"), "vcpu"},
      {domain("<vcpu cpuset='3-1'>1</vcpu>"), "vcpu/@cpuset"},
      {domain("<cputune><shares>1</shares></cputune>"), "cputune/shares"},
      {domain("<cputune><quota>abc</quota></cputune>"), "cputune/quota"},
      {domain("<memtune><soft_limit unit='parsec'>1</soft_limit></memtune>"), "memtune/soft_limit"},
      {domain("<launchSecurity type='sev'/>"), "launchSecurity"},
      {domain("", "<disk type='network'><source protocol='rbd' name='a'/><target dev='vda'/></disk>"), "devices/disk[vda]/@type=network"},
      {domain("", "<disk type='file'><target dev='vda'/></disk>"), "devices/disk[vda]: it has no source"},
      {domain("", "<disk type='file'><source file='relative'/><target dev='vda'/></disk>"), "devices/disk[vda]/source/@file=relative"},
      {domain("", "<disk type='file'><driver type='vmdk'/><source file='/a'/><target dev='vda'/></disk>"), "@type=vmdk"},
      {domain("", "<disk type='file'><source file='/a'><encryption format='luks'/></source><target dev='vda'/></disk>"), "encrypted"},
      {domain("", "<disk type='file'><source file='/a'/><iotune><total_bytes_sec>-5</total_bytes_sec></iotune><target dev='vda'/></disk>"), "iotune/total_bytes_sec"},
      {domain("", "<disk type='file' device='lun'><source file='/a'/><target dev='vda'/></disk>"), "@device=lun"},
      {domain("", "<interface type='direct'><source dev='eth0'/></interface>"), "devices/interface[direct]/@type=direct"},
      {domain("", "<interface type='user'><mac address='01:00:00:00:00:00'/></interface>"), "mac/@address"},
      {domain("", "<interface type='network'><source network='a b'/></interface>"), "source/@network=a b"},
      {domain("", "<interface type='network'><source network='a,mtu=9'/></interface>"), "source/@network"},
      {domain("", "<interface type='ethernet'/>"), "devices/interface[ethernet]: it names no tap device"},
      {domain("", "<interface type='user'><portForward proto='sctp'><range start='1'/></portForward></interface>"), "portForward/range"},
      {domain("", "<interface type='user'><portForward proto='tcp'><range start='9' end='5'/></portForward></interface>"), "portForward/range"},
      {domain("", "<filesystem type='template'><source name='a'/><target dir='b'/></filesystem>"), "devices/filesystem[template]"},
      {domain("", "<filesystem type='mount'><source dir='/a:b'/><target dir='/b'/></filesystem>"), "colon"},
      {domain("", "<channel type='unix'><source mode='bind' path='/a'/><target type='virtio' name='a b'/></channel>"), "target/@name=a b"},
  };
  for (const auto& [xml, said] : cases) EXPECT_THAT(refusal(xml), HasSubstr(said)) << xml;
}

TEST(Read, CountsAndBoundsWhatItTells) {
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "<hostdev mode='subsystem'/>";
  const Imported read = imported(domain("", many));
  ASSERT_EQ(read.left_out.size(), 201u);
  EXPECT_EQ(read.left_out[1], "devices/hostdev[2]");
  EXPECT_EQ(read.left_out.back(), "and 800 more");
}

TEST(Read, NamesAloneAreEnoughToRemove) {
  EXPECT_EQ(*read_domain_name("<domain><name>m</name></domain>"), Json::parse(R"({"kind":"vm","name":"m"})"));
  EXPECT_FALSE(read_domain_name("<domain/>"));
}

// ---- XML. ----

std::string xml_refusal(const std::string& text) {
  pugi::xml_document document;
  const auto parsed = parse_xml(text, document);
  return parsed ? "" : parsed.error().message();
}

TEST(Xml, RefusesWhatIsOutOfBounds) {
  EXPECT_THAT(xml_refusal("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"), HasSubstr("DOCTYPE"));
  EXPECT_THAT(xml_refusal("<a>&b;</a>"), HasSubstr("entity"));
  EXPECT_THAT(xml_refusal("<a b='x&#0;y'/>"), HasSubstr("entity or character"));
  EXPECT_THAT(xml_refusal("<a>&#x1b;</a>"), HasSubstr("entity or character"));
  EXPECT_THAT(xml_refusal("<a>&#xd800;</a>"), HasSubstr("entity or character"));
  EXPECT_THAT(xml_refusal("<a>&#99999999999;</a>"), HasSubstr("entity or character"));
  EXPECT_THAT(xml_refusal("<a>& b</a>"), HasSubstr("entity"));
  EXPECT_THAT(xml_refusal("<a>\x1b</a>"), HasSubstr("control"));
  EXPECT_THAT(xml_refusal(std::string("<a>\0</a>", 8)), HasSubstr("control"));
  EXPECT_THAT(xml_refusal("<a>\xff</a>"), HasSubstr("UTF-8"));
  EXPECT_THAT(xml_refusal("<a b='1' c='2' b='3'/>"), HasSubstr("twice"));
  EXPECT_THAT(xml_refusal(std::string(longest_xml + 1, ' ')), HasSubstr("1 MiB"));
  EXPECT_THAT(xml_refusal("<a/><b/>"), HasSubstr("one element"));
  EXPECT_THAT(xml_refusal(""), HasSubstr("no XML"));
  EXPECT_THAT(xml_refusal("<a>\n<b></a>"), HasSubstr("line 2"));
  EXPECT_THAT(xml_refusal("<a><!-- "), HasSubstr("ends in the middle"));
  EXPECT_EQ(xml_refusal("\xef\xbb\xbf<?xml version='1.0'?><!-- & <!DOCTYPE --><a b='&#xe4;&lt;'><![CDATA[<!DOCTYPE &x;]]></a>"), "");
  std::string attributes;
  for (int i = 0; i < 65; ++i) attributes += fmt::format(" a{}=''", i);
  EXPECT_THAT(xml_refusal("<a" + attributes + "/>"), HasSubstr("64 attributes"));
  std::string elements = "<a>";
  for (std::size_t i = 0; i < most_nodes; ++i) elements += "<b/>";
  EXPECT_THAT(xml_refusal(elements + "</a>"), HasSubstr("50000"));
}

TEST(Xml, DepthCostsNoStack) {
  const auto nested = [](std::size_t depth) {
    std::string out;
    for (std::size_t i = 0; i < depth; ++i) out += "<a>";
    for (std::size_t i = 0; i < depth; ++i) out += "</a>";
    return out;
  };
  EXPECT_EQ(xml_refusal(nested(deepest_xml)), "");
  EXPECT_THAT(xml_refusal(nested(deepest_xml + 1)), HasSubstr("32 levels"));
  EXPECT_THAT(xml_refusal(nested(140'000)), HasSubstr("32 levels"));
}

// ---- Units. ----

TEST(Units, OfMemory) {
  const std::vector<std::tuple<const char*, const char*, u64>> cases = {{"1", "", KiB},           {"1", "b", 1},          {"7", "bytes", 7},       {"1", "KB", 1000},
                                                                        {"1", "k", KiB},          {"1", "KiB", KiB},      {"2", "MB", 2'000'000},  {"2", "M", 2 * MiB},
                                                                        {"1", "GB", 1000000000},  {"1", "GiB", GiB},      {"1", "T", 1024 * GiB},  {"16777215", "TiB", u64{16777215} << 40}};
  for (const auto& [number, unit, bytes] : cases) EXPECT_EQ(memory_size(number, unit), bytes) << number << unit;
  for (const auto& [number, unit] : {std::pair{"16777216", "TiB"}, {"16", "EiB"}, {"18446744073709551616", "b"}, {"-1", "b"}, {"1.5", "G"}, {"", "b"}, {" 1", "b"}, {"0x10", "b"}, {"1", "kib/s"}, {"1", "x"}}) {
    EXPECT_FALSE(memory_size(number, unit)) << number << unit;
  }
}

TEST(Units, SetsOfProcessors) {
  EXPECT_EQ(cpu_set("0-3,7"), "0-3,7");
  EXPECT_EQ(cpu_set("1-4,^3,6"), "1-2,4,6");
  EXPECT_EQ(cpu_set("3, 2 ,1"), "1-3");
  for (const char* bad : {"", "^1", "a", "1-", "-1", "4096", "3-1", "1,,2", "99999999999999999999"}) EXPECT_FALSE(cpu_set(bad)) << bad;
}

// ---- There and back. ----

/// A document as the domain library gives it back, so with all the fields that it has.
Json settled(const char* yaml) {
  auto read = read_documents(yaml, "test");
  EXPECT_TRUE(read) << read.error().message();
  const auto spec = machine_spec_of((*read)[0], "id");
  EXPECT_TRUE(spec) << spec.error().message();
  Json out = machine_document(*spec, {.project = (*read)[0].value("project", "default"), .labels = (*read)[0].value("labels", Json::object())}, {});
  EXPECT_TRUE(check(out));
  return out;
}

void expect_back(const Json& document, const std::optional<Boot>& boot, const Json& wanted) {
  const auto out = write_domain(document, boot);
  ASSERT_TRUE(out) << out.error().message();
  const auto back = read_domain(out->xml, "another");
  ASSERT_TRUE(back) << back.error().message() << out->xml;
  EXPECT_THAT(back->left_out, IsEmpty()) << out->xml;
  // As apply would find it.
  const auto spec = machine_spec_of(back->document, "id");
  ASSERT_TRUE(spec) << spec.error().message();
  const Json again = machine_document(*spec, {.project = back->document.value("project", "default"), .labels = back->document.value("labels", Json::object())}, {});
  for (const Change& change : differences(wanted, again)) ADD_FAILURE() << change.field << " " << change.from << " " << change.to << "\n" << out->xml;
}

// Every field that both have, with a value of its own.
const char* const both = R"(
kind: vm
name: all
project: mine
image: "base:1.0"
engine: kvm
cpu: host
numaNode: 1
append: "quiet <&> 'x'"
labels: {title: One line, description: "two\nlines", k: v, "odd \" <key>": " value\n with  blanks "}
limits: {memory: 1073741824, cpus: 1.5, cpuWeight: 77, cpuset: "0-1,3", memoryReservation: 67108865, ioWeight: 4950,
         deviceReadBps: ["/dev/a:1", "/dev/b:2"], deviceWriteBps: ["/dev/b:3"], deviceReadIops: ["/dev/a:4"], deviceWriteIops: ["/dev/a:5"]}
networks: ["lab,mac=52:54:00:00:00:09,rate-in=1000000,rate-out=2000,mtu=1400", user, "user,mac=52:54:00:00:00:0a"]
publish: ["8080:80", "127.0.0.1:2222:22", "8000-8002:9000-9002/udp"]
volumes: ["/tmp:/mnt/t:ro", "/srv:/mnt/s"]
hardware:
  serial: [{type: pty}, {type: file, path: /s1}, {type: socket, path: /s2}, {type: "null"}]
  debugConsole: {type: file, path: /debug}
  rng: true
  disks: [{path: /d, format: qcow2, readOnly: true, serial: s1, io: threads, ring: split, iops: 10, iopsBurst: 20, bps: 30, bpsBurst: 40},
          {path: /dev/vg/e, format: raw, io: io_uring}]
  fwCfg: [{name: opt/x, string: "  y <z>\n"}, {name: opt/f, file: /f}]
  nets: [{tap: t0, mac: "52:54:00:00:00:01", mtu: 1500, queues: 2, rateIn: 5000, rateOut: 6000}, {tap: t1}]
  consoles: [{type: file, path: /c, name: n, terminal: false}, {type: pty}, {type: socket, path: /k, name: m, terminal: false}]
  shares: [{tag: t, path: /s, readOnly: true}, {tag: u, path: /s2}]
  balloon: {deflateOnOom: false, freePageReporting: true}
)";

TEST(Write, ComesBackAsItWas) {
  const Json document = settled(both);
  expect_back(document, {}, document);
  const Boot boot{.kernel = "/store/kernel", .initrd = "/store/initrd", .append = "console=ttyS0", .disk = "/state/disk.qcow2"};
  expect_back(document, boot, document);
  const auto out = write_domain(document, boot);
  EXPECT_THAT(out->left_out, IsEmpty());
  EXPECT_THAT(out->xml, AllOf(HasSubstr("<kernel>/store/kernel</kernel>"), HasSubstr("<cmdline>console=ttyS0 quiet &lt;&amp;&gt; 'x'</cmdline>"), HasSubstr("/state/disk.qcow2")));
}

TEST(Write, UsualThingsComeBackAsUsual) {
  for (const char* yaml : {"kind: vm\nname: m\nimage: debian\n", "kind: vm\nname: m\nimage: debian\nengine: soft\nnetworks: [none]\n", "kind: vm\nname: m\nimage: debian\nengine: kvm\nlimits: {cpus: 4}\n",
                           "kind: vm\nname: m\nimage: debian\nnetworks: [user]\nhardware: {serial: [{type: stdio}]}\n", "kind: vm\nname: m\nimage: debian\nlimits: {numaNodes: \"0-1\"}\n",
                           "kind: vm\nname: m\nimage: debian\npublish: [\"80:80\"]\nhardware: {balloon: {}}\n", "kind: vm\nname: m\nimage: debian\nlimits: {cpus: 0.25, memory: 300M}\n"}) {
    const Json document = settled(yaml);
    expect_back(document, {}, document);
  }
}

// libvirt gives addresses, and people edit.
TEST(Write, WhatWasChangedSinceIsTakenOrTold) {
  const auto out = write_domain(settled("kind: vm\nname: m\nimage: debian\nappend: quiet\n"), Boot{.kernel = "/k", .initrd = "/i", .append = "a", .disk = "/d"});
  ASSERT_TRUE(out);
  const auto edited = [&](std::string_view from, std::string_view to) {
    std::string xml = out->xml;
    const std::size_t at = xml.find(from);
    EXPECT_NE(at, std::string::npos) << from << "\n" << xml;
    return imported(xml.replace(at, from.size(), to));
  };
  EXPECT_EQ(edited("<interface type=\"user\">", "<interface type='user'><mac address='52:54:00:00:00:05'/>").document["networks"], Json({"user,mac=52:54:00:00:00:05"}));
  EXPECT_THAT(edited("<cmdline>a quiet", "<cmdline>a single").left_out, ElementsAre("os/cmdline (what the metadata say of it is taken)"));
  const Imported other = edited("ua-nagaya-own-disk", "ua-other");
  EXPECT_EQ(other.document["hardware"]["disks"][0]["path"], "/d");
  EXPECT_THAT(other.left_out, ElementsAre("os/kernel (the image's is started)", "os/initrd (the image's is started)", "os/cmdline (what the metadata say of it is taken)",
                                          "devices/disk[vda]/target/@dev=vda (it is vdb; vda is the machine's own)"));
}

TEST(Write, TellsWhatHasNoPlace) {
  const Json document = settled(R"(
kind: vm
name: all
image: base
command: [a]
entrypoint: [/bin/c]
env: [A=1]
workdir: /w
user: me
hostname: h
limits: {memory: 64M, pids: 100, numaNodes: "0", ioWeight: 5}
networks: ["lab,rate-in=1500"]
publish: ["80:80"]
cpu: common
numaNode: 0
diskSize: 2G
userData: "#cloud-config"
sshKeys: [ssh-ed25519 AAAA me]
labels: {a: "b\x01"}
hardware:
  serial: [{type: stdout}]
  debugExit: true
  testdev: true
  disks: [{path: /d, format: qcow2, backing: [/b]}, {path: relative, format: raw}]
  nets: [{socket: /n}]
  consoles: [{type: pty, name: n}]
  vsock: {cid: 7, path: /v}
  shares: [{tag: /t, path: /s}]
  pmems: [{path: /p}]
  fwCfg: [{name: opt/x, string: "\x01"}]
)");
  const auto out = write_domain(document, {});
  ASSERT_TRUE(out);
  std::vector<std::string> fields;
  for (const std::string& line : out->left_out) fields.push_back(line.substr(0, line.find(' ')));
  EXPECT_THAT(fields, testing::UnorderedElementsAre("image", "command", "entrypoint", "env", "workdir", "user", "hostname", "limits.pids", "limits.ioWeight", "networks[0].rate-in", "publish[0]", "cpu",
                                                    "numaNode", "diskSize", "userData", "sshKeys", "labels", "hardware.serial[0].type", "hardware.debugExit", "hardware.testdev",
                                                    "hardware.disks[0].backing", "hardware.disks[1].path", "hardware.nets[0]", "hardware.consoles[0].name", "hardware.vsock", "hardware.shares[0]",
                                                    "hardware.pmems", "hardware.fwCfg[0].string"))
      << fmt::format("{}", fmt::join(out->left_out, "\n"));
  EXPECT_TRUE(read_domain(out->xml, "")) << out->xml;
}

TEST(Write, ContainersAreRefused) { EXPECT_FALSE(write_domain(Json::parse(R"({"kind":"container","name":"c","image":"i"})"), {})); }

}  // namespace
}  // namespace nagaya::definition::libvirt
