//! A GPU behind NVIDIA's driver.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_int, c_void};
use std::fmt;
use std::sync::Mutex;

use super::compiler::Compiler;
use super::library::{self, Driver, Found};
use super::machine::{Free, Function, Grid, Machine, Product, Source};
use super::matmul::Products;
use super::transfer::Staging;
use crate::device::DeviceError;

/// The driver's name for too little memory.
const OUT_OF_MEMORY: c_int = 2;
/// No GPU, or none that `CUDA_VISIBLE_DEVICES` shows.
const NO_DEVICE: [c_int; 2] = [100, 101];
/// Attributes of devices and functions, by the numbers of CUDA's header.
const MULTIPROCESSORS: c_int = 16;
const CAPABILITY: [c_int; 2] = [75, 76];
const MOST_SHARED: c_int = 8;
/// Shared memory that a function has without asking.
const PLAIN_SHARED: u32 = 48 << 10;

/// What the driver says of a GPU.
#[derive(Debug, Clone)]
pub(super) struct Card {
    pub name: String,
    pub capability: [i32; 2],
    pub multiprocessors: u32,
    pub bytes: usize,
}

impl Card {
    /// The least capability: bfloat16 products and asynchronous copies.
    const LEAST: [i32; 2] = [8, 0];

    /// What its kernels are compiled for.
    pub fn arch(&self) -> String {
        let [major, minor] = self.capability;
        // What Hopper alone has is behind an `a`.
        format!("sm_{major}{minor}{}", if major == 9 { "a" } else { "" })
    }

    /// Why it cannot be used, if it cannot.
    pub fn refusal(&self) -> Option<String> {
        let [major, minor] = self.capability;
        (self.capability < Self::LEAST).then(|| {
            format!(
                "{} has compute capability {major}.{minor}; rappel needs 8.0 or newer (A100, RTX 30 and later); train on the \
                 processor with device = \"cpu\"",
                self.name
            )
        })
    }
}

/// The driver, initialised.
pub(super) struct Opened {
    pub driver: Driver,
    pub place: String,
    /// The CUDA version that it serves, as 1000 major + 10 minor.
    pub version: i32,
}

impl Opened {
    pub fn open() -> Result<Self, DeviceError> {
        let Found { table: driver, place } = library::driver()?;
        // SAFETY: no arguments but a number to write.
        let (result, version) = unsafe {
            let mut version = 0;
            let result = (driver.cuInit)(0);
            (driver.cuDriverGetVersion)(&raw mut version);
            (result, version)
        };
        let opened = Self { driver, place, version };
        if version != 0 && version < 12_000 {
            return Err(DeviceError::new(format!(
                "the NVIDIA driver ({}) serves CUDA {}.{}, rappel needs 12.0; install driver 525.60 or newer",
                opened.place,
                version / 1000,
                version % 1000 / 10
            )));
        }
        if NO_DEVICE.contains(&result) {
            return Err(DeviceError::new(no_device()));
        }
        opened.check(result, "cuInit")?;
        Ok(opened)
    }

    pub fn check(&self, result: c_int, what: &str) -> Result<(), DeviceError> {
        if result == 0 {
            return Ok(());
        }
        let text = |of: unsafe extern "C" fn(c_int, *mut *const std::ffi::c_char) -> c_int| {
            let mut text = std::ptr::null();
            // SAFETY: the driver writes a pointer to a text that stays, or none.
            unsafe {
                of(result, &raw mut text);
                if text.is_null() {
                    String::new()
                } else {
                    CStr::from_ptr(text).to_string_lossy().into_owned()
                }
            }
        };
        let (name, told) = (text(self.driver.cuGetErrorName), text(self.driver.cuGetErrorString));
        Err(DeviceError::new(format!("{what}: {name} ({result}), {told}")))
    }

    pub fn cards(&self) -> Result<Vec<Card>, DeviceError> {
        let mut count = 0;
        // SAFETY: a number to write.
        self.check(unsafe { (self.driver.cuDeviceGetCount)(&raw mut count) }, "cuDeviceGetCount")?;
        if count == 0 {
            return Err(DeviceError::new(no_device()));
        }
        (0..count).map(|i| self.card(i)).collect()
    }

    fn handle(&self, index: c_int) -> Result<c_int, DeviceError> {
        let mut device = 0;
        // SAFETY: a number to write.
        self.check(unsafe { (self.driver.cuDeviceGet)(&raw mut device, index) }, "cuDeviceGet")?;
        Ok(device)
    }

    fn card(&self, index: c_int) -> Result<Card, DeviceError> {
        let device = self.handle(index)?;
        let (mut name, mut bytes) = ([0_u8; 256], 0);
        let attribute = |which: c_int| {
            let mut value = 0;
            // SAFETY: a number to write.
            let result =
                unsafe { (self.driver.cuDeviceGetAttribute)(&raw mut value, which, device) };
            self.check(result, "cuDeviceGetAttribute").map(|()| value)
        };
        // SAFETY: the name has 255 bytes before its end; a number to write.
        unsafe {
            self.check(
                (self.driver.cuDeviceGetName)(name.as_mut_ptr().cast(), 255, device),
                "cuDeviceGetName",
            )?;
            self.check(
                (self.driver.cuDeviceTotalMem_v2)(&raw mut bytes, device),
                "cuDeviceTotalMem",
            )?;
        }
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
        let capability = [attribute(CAPABILITY[0])?, attribute(CAPABILITY[1])?];
        Ok(Card { name, capability, multiprocessors: attribute(MULTIPROCESSORS)? as u32, bytes })
    }
}

/// Why there is a driver and no GPU.
fn no_device() -> String {
    match std::env::var("CUDA_VISIBLE_DEVICES") {
        Ok(shown) => format!(
            "the driver shows no GPU: CUDA_VISIBLE_DEVICES={shown:?} hides those that there are, or names none; set it to \
             the numbers of GPUs, such as 0, or unset it"
        ),
        Err(_) => "the driver shows no GPU; see what nvidia-smi says".to_owned(),
    }
}

/// A GPU that is open: its context, one stream, and the libraries that serve it.
pub(super) struct Gpu {
    opened: Opened,
    card: Card,
    arch: String,
    context: Address,
    stream: Address,
    events: [Address; 2],
    compiler: Compiler,
    products: Products,
    staging: Mutex<Staging>,
}

/// A pointer of the driver's, which any thread may hand back to it.
type Address = usize;

thread_local! {
    /// The context that this thread works in.
    static CURRENT: Cell<Address> = const { Cell::new(0) };
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu").field("card", &self.card).finish_non_exhaustive()
    }
}

impl Gpu {
    /// Opens GPU `index`.
    pub fn open(index: usize) -> Result<Self, DeviceError> {
        let opened = Opened::open()?;
        let cards = opened.cards()?;
        let Some(card) = cards.get(index).cloned() else {
            return Err(DeviceError::new(format!(
                "there is no cuda:{index}: the driver shows {} GPUs, cuda:0 to cuda:{}",
                cards.len(),
                cards.len() - 1
            )));
        };
        if let Some(reason) = card.refusal() {
            return Err(DeviceError::new(reason));
        }
        let compiler = Compiler::open()?;
        let device = opened.handle(index as c_int)?;
        let (mut context, mut stream) = (std::ptr::null_mut(), std::ptr::null_mut());
        let mut events = [std::ptr::null_mut(); 2];
        let driver = &opened.driver;
        // SAFETY: handles to write; the context is never given back, for its end is the process's.
        unsafe {
            opened.check(
                (driver.cuDevicePrimaryCtxRetain)(&raw mut context, device),
                "cuDevicePrimaryCtxRetain",
            )?;
            opened.check((driver.cuCtxSetCurrent)(context), "cuCtxSetCurrent")?;
            CURRENT.set(context as Address);
            // A stream of its own, which does not wait for the default one.
            opened.check((driver.cuStreamCreate)(&raw mut stream, 1), "cuStreamCreate")?;
            for event in &mut events {
                opened.check((driver.cuEventCreate)(event, 0), "cuEventCreate")?;
            }
        }
        let products = Products::open(&opened, stream)?;
        let staging = Mutex::new(Staging::new(&opened)?);
        let (arch, events) = (card.arch(), events.map(|event| event as Address));
        let (context, stream) = (context as Address, stream as Address);
        Ok(Self { opened, card, arch, context, stream, events, compiler, products, staging })
    }

    /// Makes the context this thread's.
    fn enter(&self) -> Result<&Driver, DeviceError> {
        let driver = &self.opened.driver;
        if CURRENT.get() != self.context {
            // SAFETY: the context stays.
            let result = unsafe { (driver.cuCtxSetCurrent)(self.context as *mut c_void) };
            self.check(result, "cuCtxSetCurrent")?;
            CURRENT.set(self.context);
        }
        Ok(driver)
    }

    fn check(&self, result: c_int, what: &str) -> Result<(), DeviceError> {
        self.opened.check(result, what)
    }

    fn stream(&self) -> *mut c_void {
        self.stream as *mut c_void
    }
}

impl Machine for Gpu {
    fn name(&self) -> &str {
        &self.card.name
    }

    fn memory(&self) -> Result<Free, DeviceError> {
        let (driver, mut memory) = (self.enter()?, Free::default());
        // SAFETY: numbers to write.
        let result =
            unsafe { (driver.cuMemGetInfo_v2)(&raw mut memory.free, &raw mut memory.total) };
        self.check(result, "cuMemGetInfo").map(|()| memory)
    }

    fn allocate(&self, bytes: usize) -> Result<Option<u64>, DeviceError> {
        let (driver, mut address) = (self.enter()?, 0);
        // SAFETY: an address to write.
        match unsafe { (driver.cuMemAlloc_v2)(&raw mut address, bytes) } {
            OUT_OF_MEMORY => Ok(None),
            result => self.check(result, "cuMemAlloc").map(|()| Some(address)),
        }
    }

    fn release(&self, address: u64) {
        if let Ok(driver) = self.enter() {
            // Memory that a lost device refuses to take back is lost with it.
            // SAFETY: `allocate` gave it, and nobody uses it: the driver waits for what does.
            unsafe { (driver.cuMemFree_v2)(address) };
        }
    }

    fn send(&self, from: &[u8], address: u64) -> Result<(), DeviceError> {
        self.enter()?;
        let mut staging = self.staging.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        staging.send(&self.opened, self.stream(), from, address)
    }

    fn fetch(&self, address: u64, to: &mut [u8]) -> Result<(), DeviceError> {
        self.enter()?;
        let mut staging = self.staging.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        staging.fetch(&self.opened, self.stream(), address, to)
    }

    fn fill(&self, address: u64, bytes: usize, value: u8) -> Result<(), DeviceError> {
        let driver = self.enter()?;
        // SAFETY: buffers keep within their blocks.
        self.check(
            unsafe { (driver.cuMemsetD8Async)(address, value, bytes, self.stream()) },
            "cuMemsetD8Async",
        )
    }

    fn compile(&self, source: Source<'_>, function: &str) -> Result<Function, DeviceError> {
        let driver = self.enter()?;
        let cubin = self.compiler.cached(source.text, &self.arch, source.exact)?;
        let name = CString::new(function)
            .map_err(|_| DeviceError::new("a function's name has a zero byte"))?;
        let (mut module, mut handle) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the module is complete; handles to write. Modules stay.
        unsafe {
            let mut loaded = (driver.cuModuleLoadData)(&raw mut module, cubin.as_ptr().cast());
            if loaded != 0 {
                // A file of the cache that was spoilt.
                let fresh = self.compiler.compile(source.text, &self.arch, source.exact)?;
                loaded = (driver.cuModuleLoadData)(&raw mut module, fresh.cubin.as_ptr().cast());
            }
            self.check(loaded, "cuModuleLoadData")?;
            self.check(
                (driver.cuModuleGetFunction)(&raw mut handle, module, name.as_ptr()),
                function,
            )?;
        }
        Ok(Function(handle as usize))
    }

    unsafe fn launch(
        &self,
        function: Function,
        grid: Grid,
        args: &mut [*mut c_void],
    ) -> Result<(), DeviceError> {
        let driver = self.enter()?;
        let (handle, [x, y, z]) = (function.0 as *mut c_void, grid.blocks);
        // SAFETY: the caller's promise; the function is of this context.
        unsafe {
            if grid.shared > PLAIN_SHARED {
                let result = (driver.cuFuncSetAttribute)(handle, MOST_SHARED, grid.shared as c_int);
                self.check(result, "cuFuncSetAttribute")?;
            }
            let none = std::ptr::null_mut();
            let (threads, shared) = (grid.threads, grid.shared);
            let result = (driver.cuLaunchKernel)(
                handle,
                x,
                y,
                z,
                threads,
                1,
                1,
                shared,
                self.stream(),
                args.as_mut_ptr(),
                none,
            );
            self.check(result, "cuLaunchKernel")
        }
    }

    unsafe fn product(&self, product: &Product, addresses: [u64; 3]) -> Result<(), DeviceError> {
        self.enter()?;
        // SAFETY: the caller's promise.
        unsafe { self.products.run(product, addresses, self.stream()) }
    }

    fn finish(&self) -> Result<(), DeviceError> {
        let driver = self.enter()?;
        // SAFETY: the stream stays.
        self.check(unsafe { (driver.cuStreamSynchronize)(self.stream()) }, "cuStreamSynchronize")
    }

    fn timed(&self, work: &mut dyn FnMut() -> Result<(), DeviceError>) -> Result<f64, DeviceError> {
        let driver = self.enter()?;
        let [from, to] = self.events.map(|event| event as *mut c_void);
        let mut ms = 0.0;
        // SAFETY: the events are of this context.
        unsafe {
            self.check((driver.cuEventRecord)(from, self.stream()), "cuEventRecord")?;
            work()?;
            self.check((driver.cuEventRecord)(to, self.stream()), "cuEventRecord")?;
            self.check((driver.cuEventSynchronize)(to), "cuEventSynchronize")?;
            self.check((driver.cuEventElapsedTime)(&raw mut ms, from, to), "cuEventElapsedTime")?;
        }
        Ok(f64::from(ms))
    }
}
