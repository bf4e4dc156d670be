sudo ufw allow 5000/tcp comment 'pyraface: images'
sudo ufw allow 5001/udp comment 'pyraface: discovery'
