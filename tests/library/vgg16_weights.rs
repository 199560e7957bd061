//! VGG16 weights of every supported kind, and files that are none.
//!
//! The fixtures hold one base, as Keras and torchvision store it; tests/fixtures/make_vgg16.py made
//! them.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Cursor, Write as _},
    path::{Path, PathBuf},
};

use crate::common::skip::real_data;
use flate2::read::GzDecoder;
use pawprint::{
    domain::dataset::Digest,
    weights::vgg16::{self, ConvertError, Info, Normalization},
};
use safetensors::{
    Dtype, SafeTensors,
    tensor::{TensorView, View as _},
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

const KERAS: [&str; 4] = ["keras_published.h5", "keras_2.h5", "keras_model.h5", "keras.weights.h5"];
const TORCHVISION: [&str; 2] = ["torchvision_legacy.pth", "torchvision_zip.pth"];
const PARAMETERS: usize = 14_714_688;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Unpacks a fixture, which was packed twice.
    fn fixture(&self, name: &str) -> PathBuf {
        let packed = format!("{}/tests/fixtures/vgg16/{name}.gz.gz", env!("CARGO_MANIFEST_DIR"));
        let mut unpacked = GzDecoder::new(GzDecoder::new(File::open(packed).unwrap()));
        let path = self.path(name);
        io::copy(&mut unpacked, &mut File::create(&path).unwrap()).unwrap();
        path
    }

    fn file(&self, content: &[u8]) -> PathBuf {
        let path = self.path("source");
        fs::write(&path, content).unwrap();
        path
    }

    fn convert(&self, source: &Path) -> Result<Info, ConvertError> {
        let target = self.path("target.safetensors");
        let converted = vgg16::convert(source, &target);
        match &converted {
            Ok(info) => assert_eq!(vgg16::info(&target).unwrap(), *info),
            Err(error) => {
                assert!(!target.exists(), "{error}");
                assert!(error.to_string().len() < 1000, "{error}");
            }
        }
        converted
    }

    /// Converts, and gives what the target holds.
    fn converted(&self, source: &Path) -> (Info, Vec<u8>) {
        let info = self.convert(source).unwrap();
        (info, fs::read(self.path("target.safetensors")).unwrap())
    }

    fn refusal(&self, content: &[u8]) -> ConvertError {
        self.convert(&self.file(content)).unwrap_err()
    }
}

/// The base in a safetensors file, every number `number`.
struct Synthetic {
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
    metadata: HashMap<String, String>,
}

impl Synthetic {
    fn new(dtype: Dtype, number: &[u8], name: impl Fn(usize, &str) -> String) -> Self {
        let channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512];
        let mut tensors = Vec::new();
        for (index, pair) in channels.windows(2).enumerate() {
            for (part, shape) in [("weight", vec![pair[1], pair[0], 3, 3]), ("bias", vec![pair[1]])]
            {
                let bytes = number.repeat(shape.iter().product());
                tensors.push((name(index, part), dtype, shape, bytes));
            }
        }
        Self { tensors, metadata: HashMap::new() }
    }

    /// In f16, under torchvision's names, which say how to prepare images.
    fn torchvision() -> Self {
        let places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28];
        Self::new(Dtype::F16, &[0, 0x3c], |index, part| {
            format!("features.{}.{part}", places[index])
        })
    }

    fn canonical(dtype: Dtype, number: &[u8]) -> Self {
        let layers = [
            "1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3", "5_1", "5_2",
            "5_3",
        ];
        Self::new(dtype, number, |index, part| {
            let (block, convolution) = layers[index].split_once('_').unwrap();
            format!("block{block}_conv{convolution}.{part}")
        })
    }

    fn saying(mut self, key: &str, text: &str) -> Self {
        self.metadata.insert(key.to_owned(), text.to_owned());
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, dtype, shape, bytes)| {
            (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        safetensors::serialize(views, Some(self.metadata.clone())).unwrap()
    }

    fn tensor(&mut self, name: &str) -> &mut (String, Dtype, Vec<usize>, Vec<u8>) {
        self.tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap()
    }
}

/// A legacy `.pth` whose state dict is this pickle.
fn legacy_pth(state: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    let protocol = b"\x80\x02M\xe9\x03.";
    let system = b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.";
    [magic, protocol.as_slice(), system, state, b"\x80\x02]."].concat()
}

/// A `.pth` of today whose state dict is this pickle.
fn zip_pth(state: &[u8], compression: CompressionMethod) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(compression);
    for (name, content) in [("x/data.pkl", state), ("x/byteorder", b"little"), ("x/version", b"3")]
    {
        archive.start_file(name, options).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn every_kind_of_file_gives_the_same_base() {
    let folder = Folder::new();
    let mut first: Option<Vec<u8>> = None;
    for name in KERAS.into_iter().chain(TORCHVISION) {
        let source = folder.fixture(name);
        let (info, target) = folder.converted(&source);
        let expected = match name.starts_with("keras") {
            true => ("keras", Normalization::Caffe),
            false => ("torchvision", Normalization::Torch),
        };
        assert_eq!((info.origin.as_str(), info.preprocessing), expected, "{name}");
        assert_eq!(info.source_sha256, Digest::of(&fs::read(&source).unwrap()), "{name}");
        fs::remove_file(source).unwrap();
        let first = SafeTensors::deserialize(first.get_or_insert_with(|| target.clone())).unwrap();
        let base = SafeTensors::deserialize(&target).unwrap();
        assert_eq!(base.len(), 26);
        for (tensor, view) in base.iter() {
            assert!(view == first.tensor(tensor).unwrap(), "`{tensor}` of {name} is another");
        }
    }
}

#[test]
fn the_target_has_our_names_and_shapes() {
    let folder = Folder::new();
    let (_, target) = folder.converted(&folder.fixture("keras_published.h5"));
    let base = SafeTensors::deserialize(&target).unwrap();
    let shape = |name| base.tensor(name).unwrap().shape().to_vec();
    assert_eq!(shape("block1_conv1.weight"), [64, 3, 3, 3]);
    assert_eq!(shape("block1_conv1.bias"), [64]);
    assert_eq!(shape("block3_conv1.weight"), [256, 128, 3, 3]);
    assert_eq!(shape("block5_conv3.weight"), [512, 512, 3, 3]);
    let parameters: usize = base.iter().map(|(_, view)| view.data_len() / 4).sum();
    assert_eq!(parameters, PARAMETERS);
}

#[test]
fn safetensors_keep_their_kind_of_number() {
    for (dtype, number) in [
        (Dtype::F16, [0, 0x3c].as_slice()),
        (Dtype::BF16, &[0x80, 0x3f]),
        (Dtype::F32, &[0, 0, 0x80, 0x3f]),
    ] {
        let folder = Folder::new();
        let source = Synthetic::canonical(dtype, number)
            .saying("preprocessing", "caffe: BGR minus means")
            .saying("origin", &"mine\n".repeat(100));
        let (info, target) = folder.converted(&folder.file(&source.bytes()));
        assert_eq!(info.preprocessing, Normalization::Caffe);
        assert_eq!(info.origin, "mine".repeat(50));
        let base = SafeTensors::deserialize(&target).unwrap();
        assert!(base.len() == 26 && base.iter().all(|(_, view)| view.dtype() == dtype));
        assert_eq!(base.tensor("block1_conv1.bias").unwrap().data(), number.repeat(64));
    }
}

#[test]
fn a_file_of_ours_can_be_supplied_again() {
    let folder = Folder::new();
    let source = Synthetic::torchvision().saying("origin", "a friend");
    let (first, target) = folder.converted(&folder.file(&source.bytes()));
    let (second, again) = folder.converted(&folder.file(&target));
    assert_eq!((second.origin, second.preprocessing), (first.origin, first.preprocessing));
    assert_eq!(second.source_sha256, Digest::of(&target));
    assert_eq!(again.len(), target.len());
}

#[test]
fn weights_that_do_not_say_how_to_prepare_images_are_refused() {
    let folder = Folder::new();
    let silent = Synthetic::canonical(Dtype::F16, &[0, 0]);
    let refusal = folder.refusal(&silent.bytes());
    assert!(matches!(refusal, ConvertError::NoPreprocessing), "{refusal}");
    assert!(refusal.to_string().contains("add `preprocessing`"), "{refusal}");
    let refusal = folder.refusal(&silent.saying("preprocessing", "tf: -1 to 1").bytes());
    assert!(matches!(refusal, ConvertError::UnknownPreprocessing { .. }), "{refusal}");
}

#[test]
fn a_base_that_is_not_vgg16_is_refused_by_the_tensor() {
    let folder = Folder::new();
    let refusal = |change: &dyn Fn(&mut Synthetic)| {
        let mut base = Synthetic::torchvision();
        change(&mut base);
        folder.refusal(&base.bytes()).to_string()
    };
    let missing = refusal(&|base| base.tensors.retain(|tensor| tensor.0 != "features.28.bias"));
    assert!(missing.contains("`features.28.bias` is missing"), "{missing}");
    let turned = refusal(&|base| base.tensor("features.5.weight").2 = vec![64, 128, 3, 3]);
    assert!(turned.contains("`features.5.weight` has shape [64, 128, 3, 3]"), "{turned}");
    let whole = refusal(&|base| base.tensor("features.7.bias").1 = Dtype::I16);
    assert!(whole.contains("`features.7.bias` contains I16"), "{whole}");
    let infinite = refusal(&|base| base.tensor("features.21.weight").3[5001] = 0x7c);
    assert!(
        infinite.contains("`features.21.weight` contains NaN or infinite values"),
        "{infinite}"
    );
    let other = refusal(&|base| base.tensors.iter_mut().for_each(|tensor| tensor.0.insert(0, 'x')));
    assert!(other.contains("`block1_conv1.weight` is missing"), "{other}");
}

#[test]
fn files_that_are_no_weights_are_refused() {
    let folder = Folder::new();
    assert!(matches!(folder.refusal(b""), ConvertError::Empty));
    for other in [b"hello".as_slice(), b"<!DOCTYPE html><html>404</html>", &[0; 4096]] {
        assert!(matches!(folder.refusal(other), ConvertError::UnknownKind));
    }
    let huge = [(1_u64 << 60).to_le_bytes().as_slice(), br#"{"features.0.weight":{}}"#].concat();
    let refusal = folder.refusal(&huge).to_string();
    assert!(refusal.contains("header of 1152921504606846976 bytes"), "{refusal}");
    let missing = folder.convert(&folder.path("absent")).unwrap_err();
    assert!(matches!(missing, ConvertError::Io { .. }), "{missing}");
    let large = folder.path("large");
    File::create(&large).unwrap().set_len(vgg16::MAX_SOURCE_BYTES + 1).unwrap();
    assert!(matches!(folder.convert(&large), Err(ConvertError::TooLarge { .. })));
}

#[test]
fn pickles_are_read_and_never_obeyed() {
    let folder = Folder::new();
    let witness = folder.path("witness");
    let shell = format!("cos\nsystem\n(S'touch {}'\ntR.", witness.display());
    let shell = shell.replace("S'", "V").replace("'\n", "\n");
    let long_text = b"\x80\x02X\xff\xff\xff\xff.".as_slice();
    let many_objects = [b"\x80\x02(".as_slice(), &b"}".repeat(1 << 20), b"t."].concat();
    let deep = [&b"(".repeat(100_000), b"N".as_slice(), &b"t".repeat(100_000), b"."].concat();
    let mut doubling = b"\x80\x02(N".to_vec();
    for _ in 0..200 {
        doubling.extend(b"2(22t");
    }
    doubling.extend(b"t.");
    for state in [shell.as_bytes(), long_text, &many_objects, &deep, &doubling, b"\x80\x02}."] {
        let packed = zip_pth(state, CompressionMethod::Deflated);
        for file in [legacy_pth(state), zip_pth(state, CompressionMethod::Stored), packed] {
            folder.refusal(&file);
        }
        assert!(matches!(folder.refusal(state), ConvertError::UnknownKind));
    }
    assert!(!witness.exists());
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for name in KERAS.into_iter().chain(TORCHVISION) {
        let folder = Folder::new();
        let source = folder.fixture(name);
        let file = File::options().write(true).open(&source).unwrap();
        let whole = file.metadata().unwrap().len();
        // Headers stand at the beginning in some kinds and at the end in others.
        let ends = [whole - 1, whole - 100, 20_000, 5_000, 2_048, 1_000, 512, 96, 48, 9, 8, 7, 1];
        let even = (1..50).map(|part| whole * part / 50);
        let mut lengths: Vec<u64> = even.chain(ends).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        for length in lengths {
            file.set_len(length).unwrap();
            assert!(folder.convert(&source).is_err(), "{name} cut to {length}");
        }
    }
    let folder = Folder::new();
    let source = folder.file(&Synthetic::torchvision().bytes());
    let file = File::options().write(true).open(&source).unwrap();
    for length in [28_000_000, 1_000_000, 5_000, 1_000, 100, 8] {
        file.set_len(length).unwrap();
        assert!(folder.convert(&source).is_err(), "safetensors cut to {length}");
    }
}

#[test]
fn only_converted_files_have_info() {
    let folder = Folder::new();
    let source = folder.file(&Synthetic::torchvision().bytes());
    let refusal = vgg16::info(&source).unwrap_err().to_string();
    assert!(refusal.contains("its header has no `vgg16`"), "{refusal}");
    let newer = Synthetic::torchvision().saying("vgg16", r#"{"format": 2}"#);
    let refusal = vgg16::info(&folder.file(&newer.bytes())).unwrap_err().to_string();
    assert!(refusal.contains("header format 2"), "{refusal}");
}

#[test]
fn the_stand_in_is_taken_as_it_is() {
    let Some(data) = real_data() else { return };
    let folder = Folder::new();
    let (info, target) = folder.converted(&data.join("vgg16-standin.safetensors"));
    assert!(info.origin.starts_with("stand-in: VGG16 base"), "{}", info.origin);
    assert_eq!(info.preprocessing, Normalization::Torch);
    let base = SafeTensors::deserialize(&target).unwrap();
    assert!(base.len() == 26 && base.iter().all(|(_, view)| view.dtype() == Dtype::F16));
}
