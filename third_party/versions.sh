# What tools/setup_*.sh fetch. Wheels are pinned in webgpu-library.txt and node.txt beside this file, with their hashes.
webgpu_library_package=litert-lm-api==0.18.1
webgpu_library_wheel=litert_lm_api-0.18.1-
webgpu_headers_package=react-native-webgpu@0.10.2
webgpu_headers_sha256=6bbccc00e30c51ae196f8024167a5fbd66382ffc6c5ab57a834ee64a970c037f
mesa_version=25.0.7-2~bpo12+1
mesa_sha256_amd64=3899f1800424c60a05df5d6913076a526ca8fdbabec43672cd397563d1ca3263
libdrm_version=2.4.123-1~bpo12+1
libdrm_sha256_amd64=9cc2f341964286295124a32d3625edb76730500625e54a1e682761f883064d7b
