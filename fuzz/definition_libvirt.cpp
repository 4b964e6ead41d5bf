// libvirt domains: XML, then a definition, then a domain again, which reads back.
#include "definition/libvirt/read.hpp"
#include "definition/libvirt/write.hpp"
#include "definition/machine.hpp"
#include "fuzz.hpp"

using namespace nagaya;

namespace {

/// What the domain library makes of the document; nothing where it refuses it.
std::optional<definition::Json> settled(const definition::Json& document) {
  const auto made = definition::machine_spec_of(document, "image");
  if (!made) return {};
  const definition::MachineNotes notes{.project = document.value("project", "default"), .labels = document.value("labels", definition::Json::object())};
  return definition::machine_document(*made, notes, {});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)definition::libvirt::read_domain_name(text);
  const auto read = definition::libvirt::read_domain(text, "debian");
  if (!read) return 0;
  const auto document = settled(read->document);
  if (!document) return 0;
  // Whatever came of the first reading is a domain again, and what libvirt has a word for is the same after it.
  const auto written = definition::libvirt::write_domain(*document, {});
  if (!written) __builtin_trap();
  const auto again = definition::libvirt::read_domain(written->xml, "another");
  if (!again || !again->left_out.empty()) __builtin_trap();
  const auto back = settled(again->document);
  const bool whole = written->left_out.size() == 1;  // the image
  if (whole && (!back || *back != *document)) __builtin_trap();
  return 0;
}

namespace nagaya::fuzz {

std::vector<std::vector<u8>> seeds() {
  std::vector<std::vector<u8>> out;
  for (const std::string_view text :
       {"<domain type='kvm'><name>m</name><memory unit='MiB'>512</memory><vcpu current='1' cpuset='0-3,^2'>2</vcpu><os><type arch='x86_64'>hvm</type><cmdline>quiet &amp; so</cmdline></os>"
        "<cputune><shares>512</shares><vcpupin vcpu='0' cpuset='1'/><quota>50000</quota><period>100000</period></cputune><memtune><soft_limit unit='M'>1</soft_limit></memtune>"
        "<blkiotune><weight>500</weight><device><path>/dev/sda</path><read_iops_sec>5</read_iops_sec></device></blkiotune><numatune><memory mode='strict' nodeset='0'/></numatune></domain>",
        "<?xml version='1.0'?><!-- c --><domain type='qemu'><name>d</name><memory>524288</memory><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2' io='threads'/><source file='/d'/>"
        "<backingStore type='file'><source file='/b'/><backingStore/></backingStore><target dev='vda' bus='virtio'/><serial>s</serial><readonly/><iotune><total_bytes_sec>5</total_bytes_sec>"
        "<total_bytes_sec_max>9</total_bytes_sec_max></iotune></disk><graphics type='vnc'/></devices></domain>",
        "<domain type='kvm'><name>n</name><memory>524288</memory><devices><interface type='user'><mac address='52:54:00:00:00:01'/><mtu size='1400'/><portForward proto='tcp' address='127.0.0.1'>"
        "<range start='80' end='82' to='8080'/></portForward><bandwidth><inbound average='10'/></bandwidth></interface><interface type='network'><source network='lab'/></interface>"
        "<interface type='ethernet'><target dev='t0'/><driver queues='2'/></interface></devices></domain>",
        "<domain type='kvm'><name>p</name><title>t</title><description><![CDATA[a <b>]]></description><memory>524288</memory><metadata><n:definition xmlns:n='urn:nagaya:definition:1'><n:image value='i'/>"
        "<n:label name='k' value='v&#10;w'/></n:definition></metadata><sysinfo type='fwcfg'><entry name='opt/x'>y</entry></sysinfo><devices><serial type='pty'/><serial type='file'><source path='/s'/></serial>"
        "<console type='unix'><source mode='bind' path='/c'/><target type='virtio'/></console><channel type='null'><target type='virtio' name='x'/></channel><memballoon model='virtio' autodeflate='on'/>"
        "<filesystem type='mount'><driver type='virtiofs'/><source dir='/a'/><target dir='/b'/></filesystem><filesystem><source dir='/a'/><target dir='t'/><readonly/></filesystem>"
        "<rng model='virtio'><backend model='random'>/dev/random</backend></rng></devices></domain>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><domain/>", "<domain type='lxc'><name>c</name></domain>"}) {
    out.emplace_back(text.begin(), text.end());
  }
  return out;
}

}  // namespace nagaya::fuzz
